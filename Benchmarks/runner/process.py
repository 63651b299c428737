"""Starts and ends servers, pinned to their cores."""

import os
import re
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from runner import ending
from runner.failure import Failure, Unavailable

HOST = "127.0.0.1"
# With the space or the end of the line, so that the address is whole.
LISTENING = re.compile(r"listening on (\w+://\S+)\s")
UNAVAILABLE = "cannot run here"
PATIENCE = 20
PAUSE_SECONDS = 0.01


def cores(loops):
    """Returns the server's cores, the client's, and whether they are apart."""
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) > loops:
        return mine[1:1 + loops], mine[:1], True
    return mine, mine[:1], False


def pinned(words, on):
    return ["taskset", "-c", ",".join(str(core) for core in on), *words]


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def raise_descriptor_limit():
    """Raises the limit, so that all servers have the same one, whether or not they raise it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def accepts(port):
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return False
    return True


def wait_until(condition, seconds, message):
    """Waits for a true result and returns it. The message is of the failure after that time."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise Failure(message)
        time.sleep(PAUSE_SECONDS)
    return found


def text_of(file):
    """Returns the text without a change of the position, which the server's writes share."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")


class Server:
    """A server from its listening lines to its end, which must be orderly.

    A server with a `port` prints no such line: it has started when that port accepts. A program
    with 0 `lines` has started at once. `log` is the path of a file for all output. `quotes_errors`
    keeps standard error for the message of a failure. A server that cannot end is killed if `ends`
    is false. `patience`, in seconds, limits the start and the end. `environment` is added to that
    of this process, and the server inherits the descriptors of `inherits`."""

    def __init__(self, words, *, cores=None, lines=1, port=None, patience=PATIENCE, log=None,
                 quotes_errors=False, ends=True, statuses=(0,), environment=None,
                 inherits=()):
        words = [str(word) for word in words]
        if not words or shutil.which(words[0]) is None:
            raise Failure(f"no such program: '{shlex.join(words)}'")
        self.words = pinned(words, cores) if cores else words
        self.name = shlex.join(self.words)
        self.lines, self.port, self.patience = lines, port, patience
        self.log, self.quotes_errors, self.ends, self.statuses = log, quotes_errors, ends, statuses
        self.environment = {**os.environ, **(environment or {})}
        self.inherits = inherits
        self.process, self.texts = None, None

    def __enter__(self):
        self.output = open(self.log, "w+b") if self.log else tempfile.TemporaryFile()
        self.error_output = tempfile.TemporaryFile() if self.quotes_errors else None
        try:
            with ending.deferred():
                self.process = subprocess.Popen(
                    self.words, stdout=self.output,
                    stderr=subprocess.STDOUT if self.log else self.error_output,
                    env=self.environment, pass_fds=self.inherits)
            self.pid = self.process.pid
            if self.lines:
                self.await_start()
        except BaseException:
            self.end(signal.SIGKILL)
            raise
        return self

    def await_start(self):
        waits_for = "listening line" if self.port is None else f"listener on port {self.port}"
        self.addresses = wait_until(lambda: self.listens(waits_for), self.patience,
                                    f"no {waits_for} within {self.patience:g} s of {self.name}")
        self.address = self.addresses[0]
        if match := re.search(r":(\d+)$", self.address):
            self.port = int(match.group(1))

    def listens(self, waits_for):
        """Returns the addresses when all are known, and a false value before."""
        # An ended process writes no more, so its output is read after its status.
        status = self.process.poll()
        found = LISTENING.findall(self.said())
        if self.port is None and len(found) >= self.lines:
            return found
        if status is None:
            return self.port is not None and accepts(self.port) and [f"tcp://{HOST}:{self.port}"]
        said = "" if self.log else self.said().strip()[-400:]
        what = f"but {said!r}" if said else f"ended with {status}"
        message = f"no {waits_for}, {what}: {self.name}{self.quoted()}"
        raise Unavailable(self.errors()) if UNAVAILABLE in self.errors() else Failure(message)

    def said(self):
        """Returns standard output, and standard error too if both go into a log."""
        return self.texts[0] if self.texts else text_of(self.output)

    def errors(self):
        """Returns the last part of standard error, or of the log. It is empty if none is kept."""
        if self.texts:
            return self.texts[1]
        kept = self.output if self.log else self.error_output
        return text_of(kept).strip()[-400:] if kept else ""

    def quoted(self):
        return f": {self.errors()}" if self.errors() else ""

    def end(self, number):
        """Sends this signal and returns the status. A server that does not end is killed."""
        status = None
        with ending.deferred():
            if self.process is not None:
                self.process.send_signal(number)
                try:
                    status = self.process.wait(self.patience)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    status = self.process.wait()
            self.texts = self.said(), self.errors()
            for file in filter(None, (self.output, self.error_output)):
                file.close()
        return status

    def stop(self):
        """Ends the server, and reports an end that is not orderly."""
        status = self.end(signal.SIGTERM if self.ends else signal.SIGKILL)
        if self.ends and status not in self.statuses:
            raise Failure(f"the server did not end well ({status}): {self.name}{self.quoted()}")

    def __exit__(self, kind, *_):
        if self.texts is not None:
            return
        if kind is None:
            self.stop()
        else:
            # The first failure is the cause of later ones.
            self.end(signal.SIGTERM)
