"""The load client, from its start to its report."""

import json
import select
import shlex
import signal
import subprocess
import time

from runner import ending, proc, process, servers
from runner.failure import Failure

CLIENT = servers.BIN / "load-client"


class Client:
    """A load client that runs during its block, and is killed at its end if it still runs.

    It uses the server's first address, or another one. `patience`, in seconds, limits the time
    until the report."""

    def __init__(self, server, words, *, cores=None, address=None, program=CLIENT, patience=None):
        told = [program, "--json", "--to", address or server.address, *words]
        told = [str(word) for word in told]
        self.words = process.pinned(told, cores) if cores else told
        self.server, self.patience, self.process = server, patience, None

    def __enter__(self):
        self.began, self.before = time.monotonic(), proc.busy_seconds()
        try:
            with ending.deferred():
                self.process = subprocess.Popen(self.words, stdout=subprocess.PIPE,
                                                stderr=subprocess.PIPE, text=True)
        except BaseException:
            self.__exit__()
            raise
        return self

    def await_measuring(self, seconds):
        ready, _, _ = select.select([self.process.stderr], [], [], seconds)
        line = self.process.stderr.readline() if ready else ""
        if line != "measuring\n":
            raise Failure(f"not measuring, but {line!r}: {shlex.join(self.words)}")

    def interrupt(self):
        """Ends the measured time. A report follows."""
        self.process.send_signal(signal.SIGINT)

    def report(self):
        """Returns the client's figures. Those of a server's process have beside them, as shares of
        one core, the work of other processes and the time that the host withheld."""
        try:
            out, err = self.process.communicate(timeout=self.patience)
        except subprocess.TimeoutExpired:
            raise Failure(f"no end after {self.patience:g} s: {shlex.join(self.words)}") from None
        if self.process.returncode != 0:
            # Control-C ends the client, too.
            ending.check()
            raise Failure(f"{err.strip()} (against {self.server.name})")
        found = json.loads(out)
        if "server_cpu_us_per_request" in found:
            found |= self.disturbance(found)
        return found

    def disturbance(self, found):
        """Opening connections and warming up count as others' work here."""
        elapsed = time.monotonic() - self.began
        busy, stolen = (after - before
                        for after, before in zip(proc.busy_seconds(), self.before))
        per_request = found["server_cpu_us_per_request"] + found["client_cpu_us_per_request"]
        ours = per_request * found["requests"] / 1e6
        return {"others": max(0, busy - ours) / elapsed, "stolen": stolen / elapsed}

    def __exit__(self, *_):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process.stderr.close()


def measure(server, words, **options):
    """Returns the report of one load on a server, which must have had processor time."""
    with Client(server, ["--server-pid", server.pid, *words], **options) as client:
        found = client.report()
    # The answers of a server without processor time were sent earlier, so its figures mean nothing.
    if found["requests"] == 0 or found["server_cpu_us_per_request"] <= 0:
        raise Failure(f"{found['requests']} requests in {found['seconds']:g} s, and no processor "
                      f"time of the server: {server.name}")
    return found
