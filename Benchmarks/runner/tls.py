"""Compares servers over TLS: echoes, https, handshakes, idle connections.

Each server has one thread on one core, the load client another core. All servers of a load take
turns in every round, so the machine's moods meet them alike: a server stands beside another by the
median of the ratios within each round.
"""

import datetime
import json
import pathlib
import shutil
import statistics
import sys
import tempfile

from runner import machine, markdown, process, run as records, tables, tls_cells, turns
from runner import tls_servers as servers
from runner.failure import Failure
from runner.options import names
from runner.progress import Progress

HEADER = ["server", "least", "median", "spread", "requests/s", "beside {base}"]


def add_options(parser):
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement")
    parser.add_argument("--loads", type=names(tls_cells.CELLS), default=list(tls_cells.CELLS),
                        metavar="LIST", help=f"only these of {', '.join(tls_cells.CELLS)}")
    parser.add_argument("--servers", type=names(servers.LABELS), default=list(servers.LABELS),
                        metavar="LIST", help=f"only these of {', '.join(servers.LABELS)}")
    parser.add_argument("--out", type=pathlib.Path, default=records.OUT, metavar="DIR")
    parser.add_argument("--name", help="name of the files (the date, the commit, tls)")


def figures(samples, base):
    """Returns the figures of one server; `base` are the samples of the one beside it."""
    costs = [cost for cost, _ in samples]
    found = {"least": min(costs), "median": statistics.median(costs),
             "spread": max(costs) / min(costs) - 1, "rate": max(rate for _, rate in samples)}
    if base:
        found["ratio"] = statistics.median(
            cost / other for cost, (other, _) in zip(costs, base))
    return found


def row(key, found, unit):
    digits = 0 if unit == "bytes" else 2
    ratio = f"{found['ratio']:.2f}" if "ratio" in found else ""
    rate = "" if unit == "bytes" else f"{found['rate']:,.0f}"
    return [servers.LABELS[key], f"{found['least']:,.{digits}f}", f"{found['median']:,.{digits}f}",
            f"{found['spread']:.0%}", rate, ratio]


def load_lines(load):
    """Returns the part of the report on one load."""
    unit = "bytes of the server" if load["unit"] == "bytes" else "us of the server's processor"
    base = load["samples"].get(load["base"])
    rows = [row(key, figures(found, base), load["unit"])
            for key, found in load["samples"].items() if found]
    header = [title.format(base=servers.LABELS[load["base"]]) for title in HEADER]
    lines = [f"## {load['title']}", "", f"In {unit} for each.", "",
             *tables.markdown(header, rows)]
    for key, reason in load["failures"].items():
        lines += ["", f"{servers.LABELS[key]} failed: {reason}"]
    return lines + [""]


def report(result):
    options = result["options"]
    lines = [f"# TLS, {result['date']}", "", *markdown.facts_lines(result["facts"]),
             f"- load average {result['facts']['load_average']:.1f} at the start, "
             f"{result['load_average_at_end']:.1f} at the end", "",
             f"{options['rounds']} rounds of {options['seconds']:g} s, all servers of a load in "
             "turn, each with one thread",
             "on one core. The last column is the median of the ratios within each round; the "
             "spread is", "between the dearest and the cheapest round.", ""]
    if result["absent"]:
        lines += [*(f"- not measured: {text}" for text in result["absent"]), ""]
    for load in result["loads"]:
        lines += load_lines(load)
    return lines


def write(result, path):
    """Writes the JSON, and the report beside it, whose path it returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    result = records.rounded(result)
    loads = ",\n".join(json.dumps(load, separators=(",", ":")) for load in result["loads"])
    rest = json.dumps({key: value for key, value in result.items() if key != "loads"}, indent=1)
    path.write_text(rest.removesuffix("\n}") + ',\n "loads": [\n' + loads + "\n ]\n}\n")
    page = path.with_suffix(".md")
    page.write_text("\n".join(report(result)).rstrip() + "\n")
    return page


def sampled(options, programs, absent):
    """Returns a dictionary for each load, with the samples of each server."""
    loads = []
    for name in options.loads:
        cell = tls_cells.CELLS[name]
        keys = [key for key in cell.servers if key in options.servers and key not in absent]
        loads.append({"name": name, "title": cell.title, "base": cell.base, "unit": cell.unit,
                      "samples": {key: [] for key in keys}, "failures": {}})
    total = options.rounds * sum(len(load["samples"]) for load in loads)
    with Progress(total) as progress:
        for number, load, key in turns.alternating(
                options.rounds, loads, lambda load: load["samples"]):
            cell = tls_cells.CELLS[load["name"]]
            try:
                cost, rate = tls_cells.measure(cell, programs[key], options.seconds)
                load["samples"][key].append([cost, rate])
                said = f"{cost:.2f} {cell.unit}"
            except Failure as failure:
                said = load["failures"][key] = str(failure).splitlines()[0]
            progress.step(f"round {number}, {load['name']}, {key}: {said}")
    return loads


def run(options, refuse):
    if options.rounds < 1 or options.seconds <= 0:
        refuse("--rounds and --seconds must be positive")
    if "wrk" in options.loads and not shutil.which("wrk"):
        raise Failure("no wrk: `make peers` installs it")
    if not tls_cells.CLIENT.is_file():
        raise Failure("no load client; `make examples` builds it")
    process.raise_descriptor_limit()
    absent = {key: why for key, why in servers.absent().items() if key in options.servers}
    facts, date = machine.facts(), datetime.datetime.now().astimezone()
    facts["versions"]["OpenSSL"] = machine.output("openssl", "version")
    with tempfile.TemporaryDirectory() as folder:
        loads = sampled(options, servers.programs(servers.Files(folder)), absent)
    result = {
        "schema": 1, "date": date.strftime("%Y-%m-%d %H:%M %z"), "facts": facts,
        "absent": [f"{servers.LABELS[key]}: {why}" for key, why in absent.items()],
        "options": {"rounds": options.rounds, "seconds": options.seconds},
        "load_average_at_end": machine.facts()["load_average"], "loads": loads,
    }
    name = options.name or f"{date.strftime('%Y-%m-%d-%H%M')}-{facts['commit']}-tls"
    page = write(result, options.out / f"{name}.json")
    print("\n".join(line for load in loads for line in load_lines(load)))
    print(page)
    if any(load["failures"] for load in loads):
        raise Failure(f"some servers failed; {page} says which")
