"""Compares kv-server with redis-server: requests per second and the server's processor time.

Each server has one loop and one core, redis-benchmark another core. The best round of each cell
counts. The floor beside them is a server in C that parses no request and answers each with the
right reply. No server on epoll, of one thread, can be cheaper.
"""

import shutil
import subprocess
import tempfile

from runner import ending, proc, process, servers, summary, tables, turns
from runner.failure import Failure
from runner.progress import Progress

RUN_SECONDS = 120
LISTEN = f"tcp://{process.HOST}:{{port}}"
KV = [str(servers.BIN / "kv-server"), "--loops", "1", "--listen", LISTEN, "--backend"]
FLOOR = "floor: C that reads no request"
# In this order, so that set has stored the value that get reads.
REPLIES = {"set": "+OK\r\n", "get": "$3\r\nxxx\r\n"}
SERVERS = {
    "kv-server, epoll": [*KV, "epoll"],
    "kv-server, io_uring": [*KV, "io_uring"],
    FLOOR: [str(servers.BIN / "c-fixed-reply"), "{port}", "{reply}"],
    "redis": ["redis-server", "--port", "{port}", "--save", "", "--appendonly", "no",
              "--dir", "{folder}"],
}
# The requests of a run, for each depth of the pipeline, in units of --requests.
DEPTHS = {1: 1, 16: 20}


def load(server, command, depth, requests):
    """Returns the server's microseconds per request, and the client's requests per second."""
    words = ["redis-benchmark", "-p", str(server.port), "-c", "50", "-P", str(depth),
             "-n", str(requests), "-t", command, "--csv"]
    before = proc.processor_seconds(server.pid)
    done = subprocess.run(process.pinned(words, process.cores(1)[1]), capture_output=True,
                          text=True, timeout=RUN_SECONDS)
    used = proc.processor_seconds(server.pid) - before
    if done.returncode != 0:
        # Control-C ends the client, too.
        ending.check()
        raise Failure(f"redis-benchmark: {(done.stderr or done.stdout).strip()} "
                      f"(against {server.name})")
    rate = float(done.stdout.strip().splitlines()[-1].split(",")[1].strip('"'))
    return used / requests * 1e6, rate


def measure(name, commands, requests, folder, samples):
    port = process.free_port()
    values = {"{port}": str(port), "{reply}": REPLIES[commands[0]], "{folder}": folder}
    words = SERVERS[name]
    for mark, value in values.items():
        words = [word.replace(mark, value) for word in words]
    with process.Server(words, cores=process.cores(1)[0], port=port) as server:
        for depth, times in DEPTHS.items():
            for command in commands:
                found = load(server, command, depth, requests * times)
                samples.setdefault((command, depth), {}).setdefault(name, []).append(found)


def table(samples):
    rows = []
    for (command, depth), cell in sorted(samples.items()):
        base_cost, base_rate = summary.best(cell["redis"])
        for name in SERVERS:
            cost, rate = summary.best(cell[name])
            rows.append([command.upper(), str(depth), name, f"{rate:,.0f}",
                         f"{rate / base_rate:.2f}", f"{cost:.2f}", f"{cost / base_cost:.2f}"])
    return tables.markdown(["command", "-P", "server", "requests/s", "x redis",
                            "server us/request", "x redis"], rows)


def add_options(parser):
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--requests", type=int, default=100_000, help="at -P 1; 20 times at -P 16")


def run(options, refuse):
    if options.rounds < 1 or options.requests < 1:
        refuse("--rounds and --requests must be positive")
    for name in ("redis-server", "redis-benchmark"):
        if shutil.which(name) is None:
            raise Failure(f"no {name}: `make peers` installs it")
    samples = {}
    with tempfile.TemporaryDirectory() as folder, \
            Progress(options.rounds * len(SERVERS)) as progress:
        for number, _, name in turns.alternating(options.rounds, [None], lambda _: SERVERS):
            # The floor has one reply, so each command needs a server of its own.
            for commands in [["set"], ["get"]] if name == FLOOR else [list(REPLIES)]:
                measure(name, commands, options.requests, folder, samples)
            progress.step(f"round {number}, {name}")
    print("\n".join(table(samples)))
