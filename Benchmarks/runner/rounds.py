"""Measures in rounds, in which all servers of a cell take turns."""

import dataclasses
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time

from runner import process, servers
from runner.failure import Failure

CLIENT = servers.BIN / "load-client"
AGAIN = " again"
# The share of one core that other work may use in a quiet sample.
QUIET_SHARE = 0.1
QUIET_SECONDS = 0.3
TRIES = 3
MORE_TRIES = 5
# Keys in the client's report that repeat its options.
OF_THE_CELL = ("transport", "connections", "size", "pipeline", "idle", "churn", "rate")


def busy_seconds():
    """Returns in seconds the busy time of all cores and the time that the host withheld (steal)."""
    fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _, _, irq, softirq, steal = (int(field) for field in fields)
    ticks = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / ticks, steal / ticks


def client_words(cell, address, pid, options):
    words = [CLIENT, "--json", "--to", address, "--server-pid", pid]
    words += ["--connections", cell.connections, "--size", cell.size, "--pipeline", cell.pipeline]
    words += ["--seconds", options.seconds, "--warmup-requests", cell.warmup]
    words += ["--idle", cell.idle] if cell.idle else []
    words += ["--rate", cell.rate] if cell.rate else []
    words += ["--churn"] if cell.churn else []
    return [str(word) for word in words]


def measure(server, cell, options):
    server_cores, client_cores, _ = process.cores(cell.loops)
    with process.Running(server, cell, server_cores) as running:
        words = client_words(cell, running.address, running.process.pid, options)
        started, before = time.monotonic(), busy_seconds()
        done = subprocess.run(process.pinned(words, client_cores), capture_output=True, text=True)
        elapsed, after = time.monotonic() - started, busy_seconds()
        if done.returncode != 0:
            raise Failure(f"{done.stderr.strip()} (against {shlex.join(running.words)})")
    report = json.loads(done.stdout)
    # The answers of a server without processor time were sent earlier, so its figures mean nothing.
    if report["server_cpu_us_per_request"] <= 0:
        raise Failure(f"the server had no processor time in {options.seconds:g} s, "
                      f"{report['requests']} requests")
    sample = {key: value for key, value in report.items() if key not in OF_THE_CELL}
    per_request = sample["server_cpu_us_per_request"] + sample["client_cpu_us_per_request"]
    ours = per_request * sample["requests"] / 1e6
    # Shares of one core. Opening connections and warming up count as others' work here.
    sample["others"] = max(0, (after[0] - before[0] - ours) / elapsed)
    sample["stolen"] = (after[1] - before[1]) / elapsed
    return sample


def wait_for_quiet(seconds):
    """Waits until little else runs, at most this many seconds."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        before = busy_seconds()[0]
        time.sleep(min(QUIET_SECONDS, left))
        if busy_seconds()[0] - before <= QUIET_SHARE * QUIET_SECONDS:
            return


def measure_quietly(server, cell, options):
    """Returns the sample with the least other work beside it. Only that decides, not the figures of
    the sample."""
    found = []
    for _ in range(TRIES if options.quiet else 1):
        wait_for_quiet(options.quiet)
        found.append(measure(server, cell, options))
        if found[-1]["others"] <= QUIET_SHARE:
            break
    return min(found, key=lambda sample: sample["others"])


class Progress:
    def __init__(self, total):
        self.total, self.done = total, 0
        self.started = self.shown = time.monotonic()
        self.terminal = sys.stderr.isatty()

    def step(self, text):
        self.done += 1
        now = time.monotonic()
        if not self.terminal and now - self.shown < 10 and self.done < self.total:
            return
        self.shown = now
        left = (now - self.started) / self.done * (self.total - self.done)
        line = f"{self.done}/{self.total} {text}, {left:.0f} s left"
        print(f"\r{line}\033[K" if self.terminal else line, end="" if self.terminal else "\n",
              file=sys.stderr, flush=True)

    def end(self):
        if self.terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def baseline_of(cell, arms, wanted):
    keys = [server.key for server in arms]
    for key in ([wanted] if wanted else []) + list(cell.baselines):
        if key in keys:
            return key
    return keys[0]


def plan(cells, found, wanted):
    """Returns for each cell its baseline and, by name, its servers, with the baseline twice."""
    planned = []
    for cell in cells:
        arms = [server for server in found if server.serves(cell)]
        if not arms:
            continue
        baseline = baseline_of(cell, arms, wanted)
        named = {server.key: server for server in arms}
        named[baseline + AGAIN] = named[baseline]
        planned.append((cell, baseline, named))
    return planned


def closed_loop(cell, arms, options):
    """Returns each server's highest rate, in requests per second, without those that fail."""
    closed, found = dataclasses.replace(cell, share=0), {}
    for name, server in arms.items():
        if name.endswith(AGAIN):
            continue
        try:
            runs = [measure_quietly(server, closed, options) for _ in range(3)]
            found[name] = max(sample["requests_per_second"] for sample in runs)
        except Failure as failure:
            print(f"no rate of {name}: {failure}", file=sys.stderr)
    # Other work only ever slows a server down, so the apparent slowest one is measured again.
    for _ in range(MORE_TRIES if found else 0):
        slowest = min(found, key=found.get)
        try:
            again = measure_quietly(arms[slowest], closed, options)["requests_per_second"]
        except Failure:
            continue
        found[slowest] = max(found[slowest], again)
    return found


def with_rates(planned, options):
    """Returns the plan with a rate in each cell that has a share, and the closed-loop rates of the
    servers by the cell's number."""
    rated, closed = [], {}
    for index, (cell, baseline, arms) in enumerate(planned):
        if cell.share and options.rate:
            cell = dataclasses.replace(cell, rate=options.rate)
        elif cell.share:
            print(f"finding a rate: {cell.name}", file=sys.stderr)
            closed[index] = closed_loop(cell, arms, options)
            if not closed[index]:
                raise Failure(f"no server gives a rate for {cell.name}")
            rate = round(cell.share * min(closed[index].values()), -2)
            cell = dataclasses.replace(cell, rate=max(100, int(rate)))
        rated.append((cell, baseline, arms))
    return rated, closed


def run(planned, options):
    """Returns samples and reasons of failures, by the cell's number and the server's name."""
    total = options.rounds * sum(len(arms) for _, _, arms in planned)
    progress = Progress(total)
    samples = [{name: [] for name in arms} for _, _, arms in planned]
    failures = [{} for _ in planned]
    try:
        for number in range(options.rounds):
            for index, (cell, _, arms) in enumerate(planned):
                # The first server runs on the machine in the state that the last round left.
                order = list(arms) if number % 2 == 0 else list(reversed(arms))
                for name in order:
                    what = f"round {number + 1}, {cell.group} {cell.name}, {name}"
                    if name in failures[index]:
                        progress.step(what)
                        continue
                    try:
                        sample = measure_quietly(arms[name], cell, options)
                        samples[index][name].append(sample)
                        what += f": {sample['server_cpu_us_per_request']:.2f} us"
                    except Failure as failure:
                        failures[index][name] = str(failure)
                        what += f": {failure}"
                    progress.step(what)
    finally:
        progress.end()
    return samples, failures
