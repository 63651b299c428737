"""Holds very many idle connections and reports the memory of each, in the server and the kernel.

If the descriptor limit of a process is too low, several servers share the connections, each with a
client of its own, and their figures are added.
"""

import contextlib
import json
import math
import pathlib
import resource
import sys
import time

from runner import client, machine, proc, process, servers, tables
from runner.failure import Failure
from runner.options import names

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


class Holder:
    """A server and the client that holds connections to it, with a request every second."""

    def __init__(self, program, count, stack):
        self.count, self.stack = count, stack
        server_cores, self.client_cores, _ = process.cores(1)
        self.server = stack.enter_context(process.Server(program.words(), cores=server_cores))
        self.before = proc.resident_bytes(self.server.pid)

    def open(self):
        pid = self.server.pid
        words = ["--server-pid", pid, "--connections", 1, "--size", 64, "--idle", self.count,
                 "--rate", 1, "--seconds", LONGEST_SECONDS]
        empty = proc.descriptors(pid)
        started = time.monotonic()
        self.client = self.stack.enter_context(client.Client(
            self.server, words, cores=self.client_cores, patience=ENDING_SECONDS))
        end = started + OPENING_SECONDS * math.ceil(self.count / 20000)
        while (made := proc.descriptors(pid) - empty) < self.count + 1:
            if self.client.process.poll() is not None:
                self.client.report()
                raise Failure(f"the client ended after {made} of {self.count} connections")
            if time.monotonic() > end:
                raise Failure(f"{made} of {self.count} connections were made")
            # Rarely, because listing so many descriptors is work for the kernel too.
            time.sleep(0.25)
        self.opening = time.monotonic() - started

    def finish(self):
        """Ends the client, which first checks that no connection was closed."""
        self.client.interrupt()
        return self.client.report()


def hold(program, wanted):
    """Returns the cost of holding that many connections, as a dictionary."""
    counts = shares(wanted)
    kernel = proc.kernel_bytes()
    with contextlib.ExitStack() as stack:
        holders = [Holder(program, count, stack) for count in counts]
        for holder in holders:
            holder.open()
        time.sleep(SETTLING_SECONDS)
        pids = [holder.server.pid for holder in holders]
        rise = sum(proc.resident_bytes(holder.server.pid) - holder.before for holder in holders)
        kernel = proc.kernel_bytes() - kernel
        before = sum(map(proc.processor_seconds, pids))
        time.sleep(WATCHED_SECONDS)
        used = (sum(map(proc.processor_seconds, pids)) - before) / WATCHED_SECONDS
        reports = [holder.finish() for holder in holders]
    return {
        "server": program.key, "connections": wanted, "processes": len(counts),
        "opening_us": sum(holder.opening for holder in holders) / wanted * 1e6,
        "resident_bytes_empty": sum(holder.before for holder in holders),
        "resident_bytes_per_connection": rise / wanted,
        "kernel_bytes_per_connection": kernel / wanted,
        "idle_processor_share": used,
        "p50_us": max(report["p50_us"] for report in reports),
    }


def table(found):
    labels = {program.key: program.label for program in servers.SERVERS}
    header = ["server", "connections", "processes", "bytes each, server",
              "bytes each, kernel, both ends", "opened, us each", "processor while idle"]
    return tables.markdown(header, [
        [labels[row["server"]], f"{row['connections']:,}", str(row["processes"]),
         f"{row['resident_bytes_per_connection']:,.0f}",
         f"{row['kernel_bytes_per_connection']:,.0f}", f"{row['opening_us']:.0f}",
         f"{row['idle_processor_share']:.2%}"] for row in found])


def add_options(parser):
    keys = [program.key for program in servers.SERVERS if "tcp" in program.transports]
    parser.add_argument("--connections", type=int, default=100_000)
    parser.add_argument("--servers", type=names(keys), metavar="LIST",
                        default=["epoll", "io_uring", "c-epoll", "c-uring"],
                        help=f"of {', '.join(keys)}")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE")


def run(options, refuse):
    if options.connections < 1:
        refuse("--connections must be positive")
    process.raise_descriptor_limit()
    found, absent = servers.available(options.servers)
    for line in absent:
        print(f"hold: not measured: {line}", file=sys.stderr)
    rows = []
    for program in found:
        print(f"hold: {program.label}: {options.connections} connections", file=sys.stderr)
        rows.append(hold(program, options.connections))
    print("\n".join(table(rows)))
    if options.json:
        result = {"facts": machine.facts(), "rows": rows}
        options.json.write_text(json.dumps(result, indent=1) + "\n")
