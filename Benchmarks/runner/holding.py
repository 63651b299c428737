"""Holds very many idle connections and measures the memory of each, in the server and the kernel.

If the descriptor limit of a process is too low, several servers share the connections, each with a
client of its own, and their figures are added.
"""

import json
import math
import pathlib
import resource
import signal
import subprocess
import time

from runner import cells, process, rounds, servers
from runner.failure import Failure

# Descriptors that are not connections: libraries, listeners, rings.
SPARE = 200
# For every 20,000 connections, with room to spare.
OPENING_SECONDS = 60
SETTLING_SECONDS = 2
WATCHED_SECONDS = 5
ENDING_SECONDS = 120
LONGEST_SECONDS = 3600


def shares(wanted):
    """Returns the number of connections of each server."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = wanted if hard == resource.RLIM_INFINITY else hard - SPARE
    count = math.ceil(wanted / most)
    return [wanted // count + (1 if number < wanted % count else 0) for number in range(count)]


def field(path, name):
    for line in pathlib.Path(path).read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise Failure(f"no {name} in {path}")


def kernel_bytes():
    """Returns the size of the kernel's unreclaimable slabs: sockets, files, epoll's entries."""
    return field("/proc/meminfo", "SUnreclaim")


def descriptors(pid):
    return len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))


def resident_bytes(pid):
    return field(f"/proc/{pid}/smaps_rollup", "Rss")


def processor_seconds(pid):
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


class Holder:
    """A server and the client that holds connections to it, with a request every second."""

    def __init__(self, server, count):
        self.count = count
        self.running = process.Running(server, cells.Cell("idle", 1, 64), process.cores(1)[0])
        self.client = None

    def open(self):
        self.running.__enter__()
        pid = self.running.process.pid
        self.before = resident_bytes(pid)
        words = [rounds.CLIENT, "--json", "--to", self.running.address, "--server-pid", pid,
                 "--connections", 1, "--size", 64, "--idle", self.count, "--rate", 1,
                 "--seconds", LONGEST_SECONDS]
        words = process.pinned([str(word) for word in words], process.cores(1)[1])
        empty = descriptors(pid)
        started = time.monotonic()
        self.client = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       text=True)
        end = started + OPENING_SECONDS * math.ceil(self.count / 20000)
        while descriptors(pid) < empty + self.count + 1:
            if self.client.poll() is not None:
                raise Failure(f"the client ended: {self.client.stderr.read().strip()}")
            if time.monotonic() > end:
                raise Failure(f"{descriptors(pid) - empty} of {self.count} connections were made")
            # Rarely, because listing so many descriptors is work for the kernel too.
            time.sleep(0.25)
        self.opening = time.monotonic() - started

    def finish(self):
        """Ends client and server; the client first checks that no connection was closed."""
        self.client.send_signal(signal.SIGINT)
        out, err = self.client.communicate(timeout=ENDING_SECONDS)
        if self.client.returncode != 0:
            raise Failure(err.strip())
        report = json.loads(out)
        self.running.__exit__(None)
        return report

    def abandon(self):
        if self.client is not None and self.client.poll() is None:
            self.client.kill()
            self.client.wait()
        if self.running.process.poll() is None:
            self.running.process.kill()
            self.running.process.wait()


def hold(server, wanted):
    """Returns the cost of holding that many connections, as a dictionary."""
    counts = shares(wanted)
    holders = [Holder(server, count) for count in counts]
    kernel, opened = kernel_bytes(), []
    try:
        for holder in holders:
            opened.append(holder)
            holder.open()
        time.sleep(SETTLING_SECONDS)
        pids = [holder.running.process.pid for holder in holders]
        rise = sum(resident_bytes(holder.running.process.pid) - holder.before
                   for holder in holders)
        kernel = kernel_bytes() - kernel
        before = sum(map(processor_seconds, pids))
        time.sleep(WATCHED_SECONDS)
        used = (sum(map(processor_seconds, pids)) - before) / WATCHED_SECONDS
        reports = [holder.finish() for holder in holders]
    except BaseException:
        for holder in opened:
            holder.abandon()
        raise
    return {
        "server": server.key, "connections": wanted, "processes": len(counts),
        "opening_us": sum(holder.opening for holder in holders) / wanted * 1e6,
        "resident_bytes_empty": sum(holder.before for holder in holders),
        "resident_bytes_per_connection": rise / wanted,
        "kernel_bytes_per_connection": kernel / wanted,
        "idle_processor_share": used,
        "p50_us": max(report["p50_us"] for report in reports),
    }


def table(found):
    labels = {server.key: server.label for server in servers.SERVERS}
    lines = ["| server | connections | processes | bytes each, server | bytes each, kernel, both "
             "ends | opened, us each | processor while idle |", "|---|---|---|---|---|---|---|"]
    for row in found:
        lines.append(f"| {labels[row['server']]} | {row['connections']:,} | {row['processes']} "
                     f"| {row['resident_bytes_per_connection']:,.0f} "
                     f"| {row['kernel_bytes_per_connection']:,.0f} | {row['opening_us']:.0f} "
                     f"| {row['idle_processor_share']:.2%} |")
    return lines
