"""Compares two echo servers by the processor time of a request.

A server's first line names its address, and so whether requests are datagrams. Rounds of A and B
alternate, so that other work on the machine affects both alike. Noise only ever adds, so the lowest
figures are the most reliable. One is the minimum over the rounds. Better still is "quiet", the
fifth percentile of all slices of 0.1 s, for which no whole round needs to be quiet.
"""

import argparse
import json
import pathlib
import re
import shlex
import statistics
import sys

from runner import client, ending, process, servers, tables, turns
from runner.progress import Progress

SLICE_SECONDS = 0.1
ECHO = f"{servers.BIN}/echo-server --listen tcp://127.0.0.1:{{port}} --loops 1 --backend "
# Without commands: both backends beside C, and beside each other.
PAIRS = [(ECHO + "epoll", f"{servers.BIN}/c-epoll-echo {{port}}"),
         (ECHO + "io_uring", f"{servers.BIN}/c-uring-echo {{port}}"),
         (ECHO + "io_uring", ECHO + "epoll")]


def measure(options, command, cell):
    connections, size = cell
    # The kernel selects the port.
    words = [word.replace("{port}", "0") for word in shlex.split(command)]
    server_cores, client_cores, _ = process.cores(1)
    load = ["--connections", connections, "--size", size, "--pipeline", options.pipeline,
            "--slices", SLICE_SECONDS, "--seconds", options.seconds,
            "--warmup-requests", options.warmup, "--timeout", options.patience]
    with process.Server(words, cores=server_cores, patience=options.patience) as server:
        return client.measure(server, load, cores=client_cores, program=options.load_client)


def name(cell):
    return f"{cell[0]}x{cell[1]}"


def run_rounds(options, arms):
    """Returns samples by arm and cell, and the signal that ended the run early, or None."""
    samples = {(arm, cell): [] for arm in arms for cell in options.cells}
    try:
        with Progress(options.rounds * len(samples)) as progress:
            for number, cell, arm in turns.alternating(
                    options.rounds, options.cells, lambda _: arms):
                sample = measure(options, arms[arm], cell)
                samples[arm, cell].append(sample)
                cost = sample["server_cpu_us_per_request"]
                progress.step(f"round {number} {name(cell)} {arm}: {cost:.2f} us")
    except ending.Ended as ended:
        return samples, ended.args[0]
    return samples, None


def whole_rounds(samples, cells, arms):
    """Drops a last round in which some arm had no turn: arms are compared round by round."""
    found = {}
    for cell in cells:
        count = min(len(samples[arm, cell]) for arm in arms)
        if count > 0:
            found |= {(arm, cell): samples[arm, cell][:count] for arm in arms}
    return found


def summarize(samples):
    costs = [sample["server_cpu_us_per_request"] for sample in samples]
    rates = [sample["requests_per_second"] for sample in samples]
    slices = sorted(cost for sample in samples for cost in sample["server_cpu_us_slices"])
    return {
        "cpu_us_quiet": slices[len(slices) // 20] if slices else min(costs),
        "cpu_us_min": min(costs),
        "cpu_us_median": statistics.median(costs),
        "requests_per_second_max": max(rates),
        "requests_per_second_median": statistics.median(rates),
        "lost": sum(sample["lost"] for sample in samples),
        "cpu_us": costs,
        "requests_per_second": rates,
    }


def ratio(over, under):
    pairs = [a / b for a, b in zip(over["cpu_us"], under["cpu_us"])]
    return {"quiet": over["cpu_us_quiet"] / under["cpu_us_quiet"],
            "of_minima": over["cpu_us_min"] / under["cpu_us_min"],
            "median_of_rounds": statistics.median(pairs)}


def row(cell, arm, found):
    return [name(cell), arm, *(f"{found[key]:.3f}" for key in
                               ("cpu_us_quiet", "cpu_us_min", "cpu_us_median")),
            f"{found['requests_per_second_max']:.0f}",
            f"{found['requests_per_second_median']:.0f}"]


def remarks(cell, entry):
    """Returns lines with the ratios of a cell and its lost datagrams."""
    for label, values in entry["ratios"].items():
        note = "  (the same command twice: noise)" if label == "A/A'" else ""
        yield (f"{name(cell):<10} {label:<5} cpu quiet {values['quiet']:.3f}, "
               f"of minima {values['of_minima']:.3f}, "
               f"median of rounds {values['median_of_rounds']:.3f}{note}")
    lost = [f"{arm} {found['lost']}" for arm, found in entry["arms"].items() if found["lost"]]
    if lost:
        yield f"{name(cell):<10} lost datagrams: {', '.join(lost)}"


def report(options, arms, samples):
    # The rounds that every load has completed, also when the comparison was ended early.
    rounds = min(len(samples.get((arm, cell), [])) for arm in arms for cell in options.cells)
    result = {"commands": arms, "seconds": options.seconds, "rounds": rounds, "cells": {}}
    rows, lines = [], []
    for cell in dict.fromkeys(cell for _, cell in samples):
        found = {arm: summarize(samples[arm, cell]) for arm in arms}
        entry = {"arms": found, "ratios": {
            f"A/{under}": ratio(found["A"], found[under]) for under in ("B", "A'")
            if under in found}}
        rows += [row(cell, arm, summary) for arm, summary in found.items()]
        lines += remarks(cell, entry)
        result["cells"][name(cell)] = entry
    header = ["cell", "arm", "cpu us/req quiet", "min", "median", "req/s best", "median"]
    print("\n".join([*tables.aligned(header, rows, ("cell", "arm")), "", *lines]))
    for kind in ("others", "stolen"):
        shares = [sample[kind] for found in samples.values() for sample in found]
        result[kind] = {"median": statistics.median(shares), "max": max(shares)}
    print(f"\nof one core, other work took {result['others']['median']:.0%} in the median sample "
          f"({result['others']['max']:.0%} at most), the host {result['stolen']['median']:.0%} "
          f"({result['stolen']['max']:.0%} at most)")
    return result


def cells(text):
    found = []
    for word in text.split(","):
        match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", word.strip())
        if not match:
            raise argparse.ArgumentTypeError(f"'{word}' is not CONNECTIONSxBYTES")
        found.append((int(match.group(1)), int(match.group(2))))
    return found


def add_options(parser):
    parser.epilog = ("{port} in a command stands for a free port. Without --a and --b: both "
                     "backends beside C, and beside each other.")
    parser.add_argument("--a", metavar="CMD")
    parser.add_argument("--b", metavar="CMD")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--cells", type=cells, default=cells("64x64,64x16384"))
    parser.add_argument("--pipeline", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=2000, help="requests before the measured")
    parser.add_argument("--patience", type=float, default=20, metavar="S",
                        help="time limit for a server to listen, to answer and to end")
    parser.add_argument("--control", action="store_true", help="run A a second time, as A'")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--load-client", type=pathlib.Path, default=client.CLIENT)


def compare(options, a, b):
    """Returns None, or the status of a comparison that was ended early."""
    arms = {"A": a, "B": b} | ({"A'": a} if options.control else {})
    samples, ended_by = run_rounds(options, arms)
    # The rest takes no time, and half a report would be useless.
    samples = whole_rounds(samples, options.cells, arms)
    if ended_by and not samples:
        print(f"compare: {ended_by.name} before one round was whole", file=sys.stderr)
        return 128 + ended_by
    result = report(options, arms, samples)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if ended_by:
        print(f"compare: {ended_by.name} after {result['rounds']} whole rounds of {options.rounds}",
              file=sys.stderr)
        return 128 + ended_by
    return None


def run(options, refuse):
    if options.rounds < 1 or options.seconds <= 0 or options.patience <= 0:
        refuse("--rounds, --seconds and --patience must be positive")
    if bool(options.a) != bool(options.b):
        refuse("--a and --b belong together")
    if options.json and not options.a:
        refuse("--json needs --a and --b")
    if not options.load_client.is_file():
        refuse(f"no load client at {options.load_client}; --load-client names another")
    for number, (a, b) in enumerate([(options.a, options.b)] if options.a else PAIRS):
        if not options.a:
            print(f"{chr(10) if number else ''}A: {a}\nB: {b}", flush=True)
        if status := compare(options, a, b):
            return status
    return 0
