"""Measures servers beside each other, in interleaved rounds, and writes a report with charts."""

import datetime
import json
import pathlib
import sys

from runner import (cells, client, counts, machine, markdown, plots, process, rounds, servers,
                    summary)
from runner.failure import Failure
from runner.options import names

OUT = servers.ROOT / ".build/bench"
RECORDS = servers.ROOT / "Benchmarks/results"


def add_options(parser):
    keys = [program.key for program in servers.SERVERS]
    parser.add_argument("--preset", choices=cells.PRESETS, default="quick")
    parser.add_argument("--groups", type=names(cells.GROUPS), metavar="LIST",
                        help=f"only these: {', '.join(cells.GROUPS)}")
    parser.add_argument("--servers", type=names(keys), metavar="LIST",
                        help=f"only these: {', '.join(keys)}")
    parser.add_argument("--baseline", choices=keys, help="server that ratios refer to, if present")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.7)
    parser.add_argument("--quiet", type=float, default=0, metavar="S",
                        help="wait up to S seconds for a quiet machine before each measurement, "
                             "and repeat disturbed ones")
    parser.add_argument("--rate", type=int, default=0,
                        help="requests per second instead of a share of the slowest")
    parser.add_argument("--counts", action="store_true",
                        help="also system calls and allocations, in runs of their own")
    parser.add_argument("--out", type=pathlib.Path, default=OUT, metavar="DIR")
    parser.add_argument("--name", help="name of the files (the date and the commit)")
    parser.add_argument("--list", action="store_true", help="print the cells and servers, and end")
    parser.add_argument("--plot", nargs="?", const="", metavar="JSON",
                        help="write report and plots of the newest result, or of this one, again")


def newest():
    found = [path for folder in (OUT, RECORDS) for path in folder.glob("*.json")
             if "cells" in json.loads(path.read_text())]
    if not found:
        raise Failure("no result yet; `make bench` makes one")
    return max(found, key=lambda path: path.stat().st_mtime)


def rounded(value):
    """Rounds to five digits: the others are noise, and make records long."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def write(result, path):
    """Writes the JSON, and beside it a report and a folder of plots. Returns the report's path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    result = rounded(result)
    # A line for each cell, so that a difference between two records can be read.
    cells_text = ",\n".join(json.dumps(cell, separators=(",", ":")) for cell in result["cells"])
    rest = json.dumps({key: value for key, value in result.items() if key != "cells"}, indent=1)
    path.write_text(rest.removesuffix("\n}") + ',\n "cells": [\n' + cells_text + "\n ]\n}\n")
    folder = path.with_suffix("")
    folder.mkdir(exist_ok=True)
    charts = plots.charts(result)
    for name, chart in charts.items():
        (folder / name).write_text(chart)
    shown = [f"{folder.name}/{name}" for name in charts]
    report = path.with_suffix(".md")
    report.write_text("\n".join(markdown.report(result, shown)).rstrip() + "\n")
    return report


def chosen(options):
    wanted = [cell for cell in cells.PRESETS[options.preset]
              if options.groups is None or cell.group in options.groups]
    found, absent = servers.available(options.servers)
    planned = rounds.plan(wanted, found, options.baseline)
    if not planned:
        raise Failure("nothing to measure: " + "; ".join(absent or ["no such load"]))
    return planned, found, absent


def show(planned, absent):
    for cell, baseline, arms in planned:
        print(f"{cell.group}: {cell.name}: {', '.join(arms)} (baseline {baseline})")
    for line in absent:
        print(f"absent: {line}")


def measure(options):
    planned, found, absent = chosen(options)
    if options.list:
        show(planned, absent)
        return
    if not client.CLIENT.is_file():
        raise Failure("no load client; `make examples` builds it")
    for line in absent:
        print(f"bench: not measured: {line}", file=sys.stderr)
    process.raise_descriptor_limit()
    facts, date = machine.facts(), datetime.datetime.now().astimezone()
    # Counting comes first, so that its failures cost no measurement.
    counted = counts.count(found) if options.counts else {}
    planned, closed = rounds.with_rates(planned, options)
    samples, failures = rounds.run(planned, options)
    server_cores, client_cores, apart = process.cores(1)
    result = {
        "schema": 1, "date": date.strftime("%Y-%m-%d %H:%M %z"), "facts": facts, "absent": absent,
        "options": {"preset": options.preset, "rounds": options.rounds,
                    "seconds": options.seconds, "cores_apart": apart,
                    "server_cores": f"core {server_cores}", "client_cores": f"{client_cores}"},
        "cells": [summary.of_cell(cell, baseline, samples[index], failures[index],
                                  closed.get(index))
                  for index, (cell, baseline, _) in enumerate(planned)],
        "counts": counted,
    }
    name = options.name or f"{date.strftime('%Y-%m-%d-%H%M')}-{facts['commit']}"
    report = write(result, options.out / f"{name}.json")
    print("\n".join(markdown.overview(result["cells"])))
    print(f"\n{report}")
    if any(cell["failures"] for cell in result["cells"]):
        raise Failure(f"some servers failed; {report} says which")


def run(options, refuse):
    if options.rounds < 1 or options.seconds <= 0 or options.quiet < 0 or options.rate < 0:
        refuse("--rounds and --seconds must be positive")
    if options.plot is None:
        return measure(options)
    path = pathlib.Path(options.plot) if options.plot else newest()
    result = json.loads(path.read_text())
    if "cells" not in result:
        raise Failure(f"{path} is not a result of this program")
    print(write(result, path))
