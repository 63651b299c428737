"""Starting and ending servers, pinned to their cores."""

import os
import re
import select
import shlex
import signal
import subprocess
import time

from runner.failure import Failure

LISTENING = re.compile(r"listening on (\S+)")
START_SECONDS = 20
STOP_SECONDS = 20


def cores(loops):
    """The server's cores and the client's: apart where there are enough, and whether they are."""
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) > loops:
        return mine[1:1 + loops], mine[:1], True
    return mine, mine[:1], False


def address_for(transport):
    """What a server is told: the whole address, and what stands for {port}. The kernel picks ports,
    and the server's first line tells which."""
    if transport == "unix":
        name = f"unix://@millrace-bench-{os.getpid()}-{time.monotonic_ns()}"
        return name, name
    return f"{transport}://127.0.0.1:0", 0


def pinned(words, on):
    return ["taskset", "-c", ",".join(str(core) for core in on), *words]


class Running:
    """A server from its listening line to its end, which must be an orderly one."""

    def __init__(self, server, cell, on):
        address, port = address_for(cell.transport)
        self.words = pinned(server.words(address, port, cell.loops), on)

    def __enter__(self):
        self.process = subprocess.Popen(self.words, stdout=subprocess.PIPE)
        try:
            self.address = self.first_line()
        except BaseException:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            raise
        return self

    def first_line(self):
        ready, _, _ = select.select([self.process.stdout], [], [], START_SECONDS)
        line = self.process.stdout.readline().decode() if ready else ""
        match = LISTENING.search(line)
        if match is None:
            raise Failure(f"no listening line, but {line!r}: {shlex.join(self.words)}")
        return match.group(1)

    def __exit__(self, kind, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process.stdout.close()
        # A first failure says more than what it led to.
        if status != 0 and kind is None:
            raise Failure(f"the server did not end well ({status}): {shlex.join(self.words)}")
