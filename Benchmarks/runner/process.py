"""Starts and ends servers, pinned to their cores."""

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
    """Returns the server's cores, the client's, and whether they are apart."""
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) > loops:
        return mine[1:1 + loops], mine[:1], True
    return mine, mine[:1], False


def address_for(transport):
    """Returns the arguments of a server: the whole address, and the value for {port}. The kernel
    selects the port, and the server's first line names it."""
    if transport == "unix":
        name = f"unix://@millrace-bench-{os.getpid()}-{time.monotonic_ns()}"
        return name, name
    return f"{transport}://127.0.0.1:0", 0


def pinned(words, on):
    return ["taskset", "-c", ",".join(str(core) for core in on), *words]


class Running:
    """A server from its listening line to its end, which must be orderly."""

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
        # The first failure is the cause of later ones.
        if status != 0 and kind is None:
            raise Failure(f"the server did not end well ({status}): {shlex.join(self.words)}")
