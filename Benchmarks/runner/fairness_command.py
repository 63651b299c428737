"""The command line of Benchmarks/fairness."""

import argparse
import pathlib
import sys

from runner import client, ending, fairness, process, tables, turns, fairness_goals as goals
from runner.options import counts, names
from runner.failure import Failure
from runner.progress import Progress

CHURN = "churn"
BACKENDS = ("epoll", "io_uring")
KEYS = [disturber.key for disturber in fairness.DISTURBERS] + [CHURN]
MOST_SECONDS, MOST_ROUNDS = 60, 100
CHURN_SECONDS = 0.3


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="fairness", epilog=f"The disturbers: {', '.join(KEYS[:-1])}. {CHURN} measures how "
        "many connections per second are accepted and served instead.",
        description="Measures waits of established clients beside a peer that uses more than its "
        "share. Times are in ms; the median of the rounds counts, and the least of the control.")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backend", type=names(BACKENDS), default=list(BACKENDS), metavar="LIST")
    parser.add_argument("--loops", type=counts(64), default=[1, 2], metavar="LIST")
    parser.add_argument("--only", type=names(KEYS), default=KEYS, metavar="LIST")
    parser.add_argument("--server", type=pathlib.Path, default=fairness.SERVER, metavar="PATH",
                        help="another build of the server")
    parser.add_argument("--before", type=pathlib.Path, metavar="PATH",
                        help=f"the build that {CHURN} is compared with, in turns")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    options = parser.parse_args(arguments)
    if not 0 < options.seconds <= MOST_SECONDS or not 0 < options.rounds <= MOST_ROUNDS:
        parser.error(f"--seconds is at most {MOST_SECONDS}, --rounds {MOST_ROUNDS}, neither 0")
    for path in filter(None, (options.server, options.before, client.CLIENT)):
        if not path.is_file():
            parser.error(f"no program at {path}; `make examples` builds ours")
    return options


def say(text):
    print(f"fairness: {text}", file=sys.stderr, flush=True)


def measure_disturbed(options, cells):
    """Returns a row for each cell. All cells take turns in each round, so that other work on the
    machine affects all of them alike."""
    found = {cell: ([], []) for cell in cells}
    server = options.server.resolve()
    for number, cell, is_control in turns.alternating(
            options.rounds, cells, lambda _: (False, True)):
        sample = fairness.measure(server, cell, options.seconds, is_control)
        found[cell][is_control].append(sample)
        say(f"round {number}, {cell.backend} x {cell.loops}, {cell.disturber.key}"
            f"{', control' if is_control else ''}: p99 {sample[0]['p99_us'] / 1e3:.3f} ms")
    return [((cell.backend, cell.loops, cell.disturber.key),
             goals.of_cell(*found[cell], cell.disturber.limit_ms)) for cell in cells]


def measure_churn(options, cells):
    builds = {"before": options.before} if options.before else {}
    builds |= {"this": options.server}
    found = {(cell, build): [] for cell in cells for build in builds}
    # Short turns and many of them: the best of each build then needs no quiet whole second.
    count = options.rounds * max(1, round(options.seconds / CHURN_SECONDS))
    seconds = min(options.seconds, CHURN_SECONDS)
    with Progress(count * len(found)) as progress:
        for _, cell, build in turns.alternating(count, cells, lambda _: builds):
            sample = fairness.churn(builds[build].resolve(), cell, seconds)
            found[cell, build].append(sample)
            progress.step(f"{CHURN}, {cell.backend} x {cell.loops}, {build}")
    return [((cell.backend, cell.loops, build), goals.churn_of_cell(
        samples, found.get((cell, "before")) if build == "this" else None))
            for (cell, build), samples in found.items()]


def measure(options):
    """Returns whether all goals hold."""
    places = [(backend, count) for backend in options.backend for count in options.loops]
    disturbed = [fairness.Cell(*place, disturber) for place in places
                 for disturber in fairness.DISTURBERS if disturber.key in options.only]
    churned = [fairness.Cell(*place) for place in places] if CHURN in options.only else []
    rows = measure_disturbed(options, disturbed)
    churn_rows = measure_churn(options, churned)
    for header, row, found in ((goals.HEADER, goals.row, rows),
                               (goals.CHURN_HEADER, goals.churn_row, churn_rows)):
        if found:
            lines = [row(*each) for each in found]
            print("\n".join(tables.aligned(header, lines, goals.WORDS)))
    return all(found["holds"] for _, found in rows + churn_rows)


def main(arguments=None):
    options = parse(arguments)
    ending.catch()
    # A server without free descriptors stops accepting for a while, which would weaken a flood.
    process.raise_descriptor_limit()
    try:
        all_hold = measure(options)
    except (Failure, OSError) as failure:
        sys.exit(f"fairness: {failure}")
    except ending.Ended:
        sys.exit(130)
    if options.check and not all_hold:
        sys.exit(1)
