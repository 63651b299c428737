"""The command line of Benchmarks/fairness."""

import argparse
import pathlib
import sys

from runner import ending, fairness, fairness_goals as goals
from runner.command import names, raise_descriptor_limit
from runner.failure import Failure

CHURN = "churn"
BACKENDS = ("epoll", "io_uring")
KEYS = [disturber.key for disturber in fairness.DISTURBERS] + [CHURN]
MOST_SECONDS, MOST_ROUNDS = 60, 100
CHURN_SECONDS = 0.3


def loops(text):
    found = [int(word) for word in text.split(",") if word.strip().isdecimal()]
    if not found or min(found) < 1 or max(found) > 64:
        raise argparse.ArgumentTypeError(f"'{text}': numbers from 1 to 64, with commas")
    return found


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="fairness", epilog=f"The disturbers: {', '.join(KEYS[:-1])}. {CHURN} measures how "
        "many connections per second are accepted and served instead.",
        description="Measures waits of established clients beside a peer that uses more than its "
        "share. Times are in ms; the median of the rounds counts, and the least of the control.")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backend", type=names(BACKENDS), default=list(BACKENDS), metavar="LIST")
    parser.add_argument("--loops", type=loops, default=[1, 2], metavar="LIST")
    parser.add_argument("--only", type=names(KEYS), default=KEYS, metavar="LIST")
    parser.add_argument("--server", type=pathlib.Path, default=fairness.SERVER, metavar="PATH",
                        help="another build of the server")
    parser.add_argument("--before", type=pathlib.Path, metavar="PATH",
                        help=f"the build that {CHURN} is compared with, in turns")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    options = parser.parse_args(arguments)
    if not 0 < options.seconds <= MOST_SECONDS or not 0 < options.rounds <= MOST_ROUNDS:
        parser.error(f"--seconds is at most {MOST_SECONDS}, --rounds {MOST_ROUNDS}, neither 0")
    for path in filter(None, (options.server, options.before, fairness.CLIENT)):
        if not path.is_file():
            parser.error(f"no program at {path}; `make examples` builds ours")
    return options


def say(text):
    print(f"fairness: {text}", file=sys.stderr, flush=True)


def measure_disturbed(options, cells):
    """Returns a row for each cell. All cells take turns in each round, so that other work on the
    machine affects all of them alike."""
    found = {cell: ([], []) for cell in cells}
    for number in range(options.rounds):
        for cell in cells:
            # The first run uses the machine in the state that the last run left.
            for is_control in ((False, True) if number % 2 == 0 else (True, False)):
                ending.check()
                sample = fairness.measure(
                    str(options.server.resolve()), cell, options.seconds, is_control)
                found[cell][is_control].append(sample)
                say(f"round {number + 1}, {cell.backend} x {cell.loops}, {cell.disturber.key}"
                    f"{', control' if is_control else ''}: p99 {sample[0]['p99_us'] / 1e3:.3f} ms")
    return [((cell.backend, cell.loops, cell.disturber.key),
             goals.of_cell(*found[cell], cell.disturber.limit_ms)) for cell in cells]


def measure_churn(options, cells):
    builds = {"before": options.before} if options.before else {}
    builds |= {"this": options.server}
    found = {(cell, build): [] for cell in cells for build in builds}
    # Short turns and many of them: the best of each build then needs no quiet whole second.
    turns = options.rounds * max(1, round(options.seconds / CHURN_SECONDS))
    seconds = min(options.seconds, CHURN_SECONDS)
    for number in range(turns):
        for cell in cells:
            for build in (list(builds) if number % 2 == 0 else list(reversed(builds))):
                ending.check()
                path = str(builds[build].resolve())
                found[cell, build].append(fairness.churn(path, cell, seconds))
        if cells:
            say(f"turn {number + 1} of {turns}, {CHURN}")
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
    if rows:
        print("\n".join(goals.table(goals.HEADER, [goals.row(*each) for each in rows])))
    if churn_rows:
        print("\n".join(goals.table(goals.CHURN_HEADER,
                                    [goals.churn_row(*each) for each in churn_rows])))
    return all(found["holds"] for _, found in rows + churn_rows)


def main(arguments=None):
    options = parse(arguments)
    ending.catch()
    # A server without free descriptors stops accepting for a while, which would weaken a flood.
    raise_descriptor_limit()
    try:
        all_hold = measure(options)
    except (Failure, OSError) as failure:
        sys.exit(f"fairness: {failure}")
    except ending.Ended:
        sys.exit(130)
    if options.check and not all_hold:
        sys.exit(1)
