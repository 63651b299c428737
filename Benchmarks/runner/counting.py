"""Counts the events of one request: instructions, system calls, allocations.

Counts, unlike times, hardly depend on the machine's load. Each is the difference of two run
lengths, so that starting, accepting and ending cancel out.
"""

import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess

from runner import ending, proc, process, servers
from runner.failure import Failure

WAIT_SECONDS = 60


class NotTraced(Failure):
    """strace cannot attach to a server, for example in a container without that right."""


def in_turns(words):
    """Returns a command on one core, without preemption when a sleeping process wakes.

    The client then sends on all connections before the server runs, and the server answers all
    before the client runs. Otherwise the number of requests that share one wait would vary from
    run to run, and every count with it."""
    return process.pinned(["chrt", "--batch", "0", *words], [min(os.sched_getaffinity(0))])


def run(words):
    """Runs a client and returns its output."""
    done = subprocess.run(in_turns([str(word) for word in words]), capture_output=True, text=True)
    if done.returncode != 0:
        # Control-C ends the client, too.
        ending.check()
        raise Failure(done.stderr.strip())
    return done.stdout


def traced(server, out, load):
    """Returns the number of the server's system calls during `load`, which strace writes to a
    file."""
    words = ["strace", "-f", "-c", "-U", "calls,name", "-o", str(out), "-p", str(server.pid)]
    tracer = None

    def is_attached():
        if tracer.poll() is not None:
            raise NotTraced(f"strace did not attach: {tracer.stderr.read().strip()}")
        return proc.is_traced(server.pid)

    try:
        with ending.deferred():
            tracer = subprocess.Popen(in_turns(words), stderr=subprocess.PIPE, text=True)
        process.wait_until(is_attached, WAIT_SECONDS, "strace did not attach")
        load()
    finally:
        if tracer is not None:
            tracer.send_signal(signal.SIGINT)
            tracer.communicate()
    return int(re.search(r"(\d+) total$", out.read_text(), re.M).group(1))


def wait_until_idle(server):
    """Waits until the server is idle: it still closes connections when the client has ended."""
    seen = []

    def is_idle():
        seen.append(proc.ticks(server.pid))
        return len(seen) > 30 and len(set(seen[-30:])) == 1

    process.wait_until(is_idle, WAIT_SECONDS, f"never idle: {server.name}")


def calls_of(dump):
    """Returns the instructions of a callgrind file, and the calls of each function."""
    names, counts, called = {}, {}, None
    with open(dump, errors="replace") as lines:
        for line in lines:
            if match := re.match(r"c?fn=(\(\d+\))(?: (.*))?$", line):
                # callgrind writes a name only where it first occurs.
                called = names.setdefault(match.group(1), match.group(2))
            elif line.startswith("calls="):
                counts[called] = counts.get(called, 0) + int(line[6:].split()[0])
            elif line.startswith("summary:"):
                counts["instructions"] = int(line.split()[1])
    return counts


class Counter:
    """Counts the requests of one client. `client` is a command with options for a port and a number
    of requests. For a transport other than TCP an address replaces the port."""

    def __init__(self, config, client, directory, transport="tcp"):
        self.config, self.client, self.directory = config, client, directory
        self.transport = transport

    def server(self, words, **options):
        return process.Server(in_turns(words), patience=WAIT_SECONDS, quotes_errors=True, **options)

    def load(self, server, requests):
        where = ["--port", server.port]
        if self.transport != "tcp":
            where = ["--to", f"{self.transport}://{process.HOST}:{server.port}"]
        run([*self.client, *where, "--requests", requests,
             "--connections", self.config["connections"]])

    def per_request(self, count, command):
        """Returns counts per request; `count` returns a dictionary of counts for one run."""
        few, many = self.config["requests"]
        before, after = count(command, few), count(command, many)
        return {key: (after[key] - before.get(key, 0)) / (many - few) for key in after}

    def callgrind(self, command, requests):
        """Returns the instructions, and the calls of each function. vgdb dumps them from outside,
        because the server does not end under valgrind. valgrind does not know that io_uring_enter
        blocks, and runs no other thread meanwhile. So SIGTERM does not reach the thread that waits
        for it."""
        base, out = self.directory / "callgrind.out", self.directory / "callgrind.out.1"
        out.unlink(missing_ok=True)
        # Debian 12's valgrind fails on clang's DWARF 5. Names come from the symbol table.
        plain = self.directory / "without-debug-info"
        subprocess.run(["objcopy", "--strip-debug", shutil.which(command[0]), plain], check=True)
        words = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={base}", plain]
        with self.server([*words, *command[1:]], ends=False) as server:
            self.load(server, requests)
            wait_until_idle(server)
            subprocess.run(["vgdb", f"--pid={server.pid}", "dump"], check=True, timeout=20,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            process.wait_until(
                lambda: out.exists() and "\ntotals:" in out.read_text(errors="replace"),
                WAIT_SECONDS, "callgrind wrote no dump")
        counts = calls_of(out)
        if not counts.get("instructions"):
            raise Failure(f"callgrind counted no instructions of {shlex.join(command)}")
        return counts

    def strace(self, command, requests):
        with self.server(command) as server:
            return {"syscalls": traced(server, self.directory / "strace.out",
                                       lambda: self.load(server, requests))}

    def malloc_count(self, command, requests):
        library, out = self.directory / "malloc-count.so", self.directory / "mallocs"
        if not library.exists():
            source = servers.ROOT / "Scripts/malloc-count.c"
            subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
        out.unlink(missing_ok=True)
        preload = ["env", f"LD_PRELOAD={library}", f"MALLOC_COUNT_FILE={out}"]
        with self.server([*preload, *command]) as server:
            self.load(server, requests)
        if not out.exists():
            raise Failure("the allocation counter wrote nothing: is the server static?")
        counts = dict(line.split() for line in out.read_text().splitlines())
        return {"allocations": sum(int(value) for key, value in counts.items() if key != "free")}

    def bytes_per_idle(self, command):
        """Returns the rise of the server's resident memory for each connection that sent one
        request and then keeps silent."""
        count = self.config["idleConnections"]
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if hard != resource.RLIM_INFINITY:
            # Fewer connections give the same figure, a little less exactly. The client over TLS
            # opens as many before those that it counts.
            count = min(count, (hard - 200) // 2)
        with self.server(command) as server:
            told = run([*self.client, "--json", "--port", server.port, "--requests", 1,
                        "--connections", 1, "--idle", count, "--server-pid", server.pid])
        return json.loads(told)["server_rss_bytes_per_idle"]
