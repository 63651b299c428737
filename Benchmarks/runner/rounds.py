"""Measures in rounds, in which all servers of a cell take turns."""

import dataclasses
import sys
import time

from runner import client, proc, process, turns
from runner.failure import Failure
from runner.progress import Progress

AGAIN = " again"
# The share of one core that other work may use in a quiet sample.
QUIET_SHARE = 0.1
QUIET_SECONDS = 0.3
TRIES = 3
MORE_TRIES = 5
# Keys in the client's report that repeat its options.
OF_THE_CELL = ("transport", "connections", "size", "pipeline", "idle", "churn", "rate")


def client_words(cell, options):
    words = ["--connections", cell.connections, "--size", cell.size, "--pipeline", cell.pipeline]
    words += ["--seconds", options.seconds, "--warmup-requests", cell.warmup]
    words += ["--idle", cell.idle] if cell.idle else []
    words += ["--rate", cell.rate] if cell.rate else []
    return words + (["--churn"] if cell.churn else [])


def measure(program, cell, options):
    server_cores, client_cores, _ = process.cores(cell.loops)
    words = program.words(cell.transport, cell.loops)
    with process.Server(words, cores=server_cores) as server:
        report = client.measure(server, client_words(cell, options), cores=client_cores)
    return {key: value for key, value in report.items() if key not in OF_THE_CELL}


def wait_for_quiet(seconds):
    """Waits until little else runs, at most this many seconds."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        before = proc.busy_seconds()[0]
        time.sleep(min(QUIET_SECONDS, left))
        if proc.busy_seconds()[0] - before <= QUIET_SHARE * QUIET_SECONDS:
            return


def measure_quietly(program, cell, options):
    """Returns the sample with the least other work beside it. Only that decides, not the figures of
    the sample."""
    found = []
    for _ in range(TRIES if options.quiet else 1):
        wait_for_quiet(options.quiet)
        found.append(measure(program, cell, options))
        if found[-1]["others"] <= QUIET_SHARE:
            break
    return min(found, key=lambda sample: sample["others"])


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
    samples = [{name: [] for name in arms} for _, _, arms in planned]
    failures = [{} for _ in planned]
    total = options.rounds * sum(len(arms) for _, _, arms in planned)
    with Progress(total, every=10) as progress:
        for number, index, name in turns.alternating(
                options.rounds, range(len(planned)), lambda index: planned[index][2]):
            cell, _, arms = planned[index]
            what = f"round {number}, {cell.group} {cell.name}, {name}"
            if name not in failures[index]:
                try:
                    sample = measure_quietly(arms[name], cell, options)
                    samples[index][name].append(sample)
                    what += f": {sample['server_cpu_us_per_request']:.2f} us"
                except Failure as failure:
                    failures[index][name] = str(failure)
                    what += f": {failure}"
            progress.step(what)
    return samples, failures
