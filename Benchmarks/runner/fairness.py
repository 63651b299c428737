"""Measures waits of established clients beside a peer that uses more than its share."""

import pathlib

from runner import client, fairness_cell, process, tables, turns
from runner import fairness_goals as goals
from runner.options import counts, names
from runner.progress import Progress

CHURN = "churn"
BACKENDS = ("epoll", "io_uring")
KEYS = [disturber.key for disturber in fairness_cell.DISTURBERS] + [CHURN]
MOST_SECONDS, MOST_ROUNDS = 60, 100
CHURN_SECONDS = 0.3


def add_options(parser):
    parser.epilog = (f"The disturbers: {', '.join(KEYS[:-1])}. {CHURN} measures how many "
                     "connections per second are accepted and served instead. Times are in ms; the "
                     "median of the rounds counts, and the least of the control.")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backend", type=names(BACKENDS), default=list(BACKENDS), metavar="LIST")
    parser.add_argument("--loops", type=counts(64), default=[1, 2], metavar="LIST")
    parser.add_argument("--only", type=names(KEYS), default=KEYS, metavar="LIST")
    parser.add_argument("--server", type=pathlib.Path, default=fairness_cell.SERVER, metavar="PATH",
                        help="another build of the server")
    parser.add_argument("--before", type=pathlib.Path, metavar="PATH",
                        help=f"the build that {CHURN} is compared with, in turns")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")


def measure_disturbed(options, cells):
    """Returns a row for each cell. All cells take turns in each round, so that other work on the
    machine affects all of them alike."""
    found = {cell: ([], []) for cell in cells}
    server = options.server.resolve()
    with Progress(options.rounds * len(cells) * 2) as progress:
        for number, cell, is_control in turns.alternating(
                options.rounds, cells, lambda _: (False, True)):
            sample = fairness_cell.measure(server, cell, options.seconds, is_control)
            found[cell][is_control].append(sample)
            progress.step(
                f"round {number}, {cell.backend} x {cell.loops}, {cell.disturber.key}"
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
            sample = fairness_cell.churn(builds[build].resolve(), cell, seconds)
            found[cell, build].append(sample)
            progress.step(f"{CHURN}, {cell.backend} x {cell.loops}, {build}")
    return [((cell.backend, cell.loops, build), goals.churn_of_cell(
        samples, found.get((cell, "before")) if build == "this" else None))
            for (cell, build), samples in found.items()]


def measure(options):
    """Returns whether all goals hold."""
    places = [(backend, count) for backend in options.backend for count in options.loops]
    disturbed = [fairness_cell.Cell(*place, disturber) for place in places
                 for disturber in fairness_cell.DISTURBERS if disturber.key in options.only]
    churned = [fairness_cell.Cell(*place) for place in places] if CHURN in options.only else []
    rows = measure_disturbed(options, disturbed)
    churn_rows = measure_churn(options, churned)
    for header, row, found in ((goals.HEADER, goals.row, rows),
                               (goals.CHURN_HEADER, goals.churn_row, churn_rows)):
        if found:
            lines = [row(*each) for each in found]
            print("\n".join(tables.aligned(header, lines, goals.WORDS)))
    return all(found["holds"] for _, found in rows + churn_rows)


def run(options, refuse):
    if not 0 < options.seconds <= MOST_SECONDS or not 0 < options.rounds <= MOST_ROUNDS:
        refuse(f"--seconds is at most {MOST_SECONDS}, --rounds {MOST_ROUNDS}, neither 0")
    for path in filter(None, (options.server, options.before, client.CLIENT)):
        if not path.is_file():
            refuse(f"no program at {path}; `make examples` builds ours")
    # A server without free descriptors stops accepting for a while, which would weaken a flood.
    process.raise_descriptor_limit()
    all_hold = measure(options)
    return 0 if all_hold or not options.check else 1
