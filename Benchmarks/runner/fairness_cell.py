"""One measurement of `bench fairness`: eight established clients beside a disturber."""

import contextlib
import dataclasses
import shlex

from runner import client, process, servers

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


def server_of(path, cell):
    """Returns a server of this build."""
    more = shlex.split(cell.disturber.server) if cell.disturber else []
    words = [path, "--listen", "tcp://127.0.0.1:0", "--backend", cell.backend,
             "--loops", cell.loops, *more]
    return process.Server(words, cores=process.cores(cell.loops)[0])


def client_of(server, cell, seconds, words):
    words = ["--seconds", seconds, "--timeout", START_SECONDS + STALL_PER_SECOND * seconds, *words]
    return client.Client(server, words, cores=process.cores(cell.loops)[1],
                         patience=2 * START_SECONDS + (1 + STALL_PER_SECOND) * seconds)


def measure(path, cell, seconds, is_control):
    """Returns the reports of the clients and of the disturber. In a control the disturber uses
    another server of the same kind, on the same cores."""
    eight = ["--connections", CLIENTS, "--size", 64, "--pipeline", DEPTH, "--rate", RATE,
             "--warmup-requests", WARM_UP, "--announce"]
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(server_of(path, cell))
                   for _ in range(2 if is_control else 1)]
        clients = stack.enter_context(client_of(running[0], cell, seconds, eight))
        clients.await_measuring(START_SECONDS)
        disturber = stack.enter_context(
            client_of(running[-1], cell, seconds, shlex.split(cell.disturber.words)))
        return clients.report(), disturber.report()


def churn(path, cell, seconds):
    """Measures connections that send one request and close, so each one counted was accepted and
    served. Many connections without a request would still be in the backlog at the end."""
    with server_of(path, cell) as server:
        words = ["--churn", "--connections", CHURNING, "--size", 64, "--server-pid", server.pid,
                 "--warmup-requests", 1000]
        with client_of(server, cell, seconds, words) as churning:
            return churning.report()
