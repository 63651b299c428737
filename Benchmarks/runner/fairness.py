"""One measurement of Benchmarks/fairness: eight established clients beside a disturber."""

import contextlib
import dataclasses
import json
import select
import shlex
import subprocess

from runner import process, servers
from runner.failure import Failure

CLIENT = servers.BIN / "load-client"
SERVER = servers.BIN / "fairness-server"
CLIENTS = 8
# Each client sends a request every 4 ms, whether or not responses come, and a time counts from the
# moment when the request was due. A client that waits for a response before its next request sends
# a stalled server only one, and 4 s of silence are one sample among thousands. With the schedule
# they are as many samples as 4 s of good service. More requests would give no new information, and
# use time of the core that the disturber needs.
RATE = CLIENTS * 250
# The most requests in flight on each connection: more than are due in the longest run.
DEPTH = 65536
# Requests before the disturber starts, because all requests that it stalls must be measured.
WARM_UP = RATE // 10
START_SECONDS = 20
# Seconds in which a server must finish the work of one second of disturbance. A flood may bring ten
# times as many connections as a handler of 0.4 ms can open, and the clients may wait for all.
STALL_PER_SECOND = 12
# The load client's address with --sources 2, by which the server recognizes the disturber.
DEAR_HOST = "127.0.0.2"
CHURNING = 64


@dataclasses.dataclass(frozen=True)
class Disturber:
    """The options of the load client and of the server, and the limit of the clients' waits."""
    key: str
    words: str
    server: str = ""
    limit_ms: float = 5


DISTURBERS = [
    Disturber("flood", "--flood"),
    Disturber("slow-open", "--flood", server="--open 400", limit_ms=20),
    Disturber("firehose", "--connections 1 --size 65536 --pipeline 64"),
    Disturber("dear-pipeline", "--connections 1 --size 64 --pipeline 4096 --sources 2",
              server=f"--dear-host {DEAR_HOST} --dear 20"),
]


@dataclasses.dataclass(frozen=True)
class Cell:
    backend: str
    loops: int
    disturber: Disturber = None
    transport: str = "tcp"


@dataclasses.dataclass(frozen=True)
class Program:
    """A build of the server, with the interface that `process.Running` uses."""
    path: str
    cell: Cell

    def words(self, address, _, loops):
        more = self.cell.disturber.server if self.cell.disturber else ""
        return [self.path, "--listen", address, "--backend", self.cell.backend,
                "--loops", str(loops), *shlex.split(more)]


class Client:
    """A load client that runs during its block, and is killed at its end if it still runs."""

    def __init__(self, address, seconds, words, cores):
        told = [CLIENT, "--json", "--to", address, "--seconds", seconds,
                "--timeout", START_SECONDS + STALL_PER_SECOND * seconds, *words]
        self.words = process.pinned([str(word) for word in told], cores)
        self.patience = 2 * START_SECONDS + (1 + STALL_PER_SECOND) * seconds

    def __enter__(self):
        self.process = subprocess.Popen(self.words, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True)
        return self

    def await_measuring(self):
        ready, _, _ = select.select([self.process.stderr], [], [], START_SECONDS)
        line = self.process.stderr.readline() if ready else ""
        if line != "measuring\n":
            raise Failure(f"not measuring, but {line!r}: {shlex.join(self.words)}")

    def report(self):
        try:
            out, err = self.process.communicate(timeout=self.patience)
        except subprocess.TimeoutExpired:
            raise Failure(f"no end after {self.patience:g} s: {shlex.join(self.words)}") from None
        if self.process.returncode != 0:
            raise Failure(f"{err.strip()} ({shlex.join(self.words)})")
        return json.loads(out)

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


def measure(path, cell, seconds, is_control):
    """Returns the reports of the clients and of the disturber. In a control the disturber uses
    another server of the same kind, on the same cores."""
    server_cores, client_cores, _ = process.cores(cell.loops)
    program = Program(path, cell)
    eight = ["--connections", CLIENTS, "--size", 64, "--pipeline", DEPTH, "--rate", RATE,
             "--warmup-requests", WARM_UP, "--announce"]
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(process.Running(program, cell, server_cores))
                   for _ in range(2 if is_control else 1)]
        clients = stack.enter_context(Client(running[0].address, seconds, eight, client_cores))
        clients.await_measuring()
        disturber = stack.enter_context(Client(
            running[-1].address, seconds, shlex.split(cell.disturber.words), client_cores))
        return clients.report(), disturber.report()


def churn(path, cell, seconds):
    """Measures connections that send one request and close, so each one counted was accepted and
    served. Many connections without a request would still be in the backlog at the end."""
    server_cores, client_cores, _ = process.cores(cell.loops)
    with process.Running(Program(path, cell), cell, server_cores) as running:
        words = ["--churn", "--connections", CHURNING, "--size", 64,
                 "--server-pid", running.process.pid, "--warmup-requests", 1000]
        with Client(running.address, seconds, words, client_cores) as client:
            return client.report()
