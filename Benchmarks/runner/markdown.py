"""The report for readers: tables in Markdown."""

from runner import servers, tables
from runner.rounds import AGAIN
from runner.summary import QUIET

TITLES = {
    "echo": "Echo over TCP",
    "churn": "A connection for each request",
    "idle": "Eight busy connections among many idle ones",
    "schedule": "Echo over TCP at a fixed rate, latency from when a request was due",
    "open": "Echo over TCP at a share of what the slowest does, latency from when one was due",
    "udp": "Echo over UDP",
    "unix": "Echo over Unix sockets",
    "loops": "Two loops",
    "tasks": "With a task for each connection beside callbacks",
    "timers": "With an idle time-out armed on every connection",
}
LABELS = {server.key: server.label for server in servers.SERVERS}


def label(name, baseline):
    if name == baseline + AGAIN:
        return f"{LABELS[baseline]}, again"
    return LABELS.get(name, name)


def count(value):
    return f"{value:,.0f}"


def columns(group):
    found = ["server", "CPU us/request", "median", "spread", "CPU ratio", "requests/s", "p50 us",
             "p99 us", "p99.9 us", "switches/request", "peak MiB"]
    extra = {"idle": ["bytes per idle"], "udp": ["lost"], "churn": ["failed"],
             "schedule": ["not sent in time"],
             "open": ["p99.9 least", "p99.9 most", "p99.9 ratio", "not sent in time",
                      "requests/s in a closed loop"]}
    return found + extra.get(group, [])


def row(name, arm, cell):
    switches = (arm["server_voluntary_switches_per_request"]
                + arm["server_involuntary_switches_per_request"])
    cpu = arm["server_cpu_us_per_request"]
    found = [label(name, cell["baseline"]), f"{cpu['best']:.2f}", f"{cpu['median']:.2f}",
             f"{arm['spread']:.0%}", f"{arm['cpu_ratio']:.2f}" if "cpu_ratio" in arm else "",
             count(arm["requests_per_second"]["best"])]
    # At a rate that all servers keep, the median is typical, while the best round may be luck.
    which = "median" if cell["group"] == "open" else "best"
    found += [f"{arm[key][which]:.0f}" for key in ("p50_us", "p99_us", "p999_us")]
    found += [f"{switches:.3f}", f"{arm['server_peak_rss_bytes'] / 1048576:.1f}"]
    if cell["group"] == "idle":
        found.append(count(arm["server_rss_bytes_per_idle"]))
    if cell["group"] == "open":
        found += [f"{arm['p999_us'][which]:.0f}" for which in ("best", "worst")]
        found.append(f"{arm['p999_median_ratio']:.2f}" if "p999_median_ratio" in arm else "")
    keys = {"udp": "lost", "churn": "errors", "schedule": "unsent", "open": "unsent"}
    if cell["group"] in keys:
        found.append(count(arm[keys[cell["group"]]]))
    if cell["group"] == "open":
        closed = cell["closed_loop"] or {}
        found.append(count(closed[name]) if name in closed else "")
    return found


def noise(cell):
    off = cell["control_off_by"]
    if off is None:
        return "The baseline failed, so that nothing tells the noise."
    text = f"The same command twice: {off:.1%} apart."
    return text if cell["quiet"] else f"{text} **Noisy**: ratios below are no better than that."


def cell_lines(cell):
    lines = [f"### {cell['name']}", "", noise(cell), ""]
    rows = [row(name, arm, cell) for name, arm in cell["arms"].items() if arm is not None]
    lines += tables.markdown(columns(cell["group"]), rows)
    for name, reason in cell["failures"].items():
        lines += ["", f"{label(name, cell['baseline'])} failed: {reason}"]
    return lines + [""]


def overview(cells):
    """Returns a table of the ratios of processor time, one row for each cell."""
    names = list(dict.fromkeys(name for cell in cells for name in cell["arms"]
                               if not name.endswith(AGAIN)))
    header = ["load", "baseline, us", *(LABELS[name] for name in names), "twice the same"]
    rows = []
    for cell in cells:
        base = cell["arms"][cell["baseline"]]
        found = [f"{cell['group']}: {cell['name']}"]
        found.append(f"{base['server_cpu_us_per_request']['best']:.2f}" if base else "failed")
        for name in names:
            arm = cell["arms"].get(name)
            found.append(f"{arm['cpu_ratio']:.2f}" if arm and "cpu_ratio" in arm else "")
        control = cell["arms"].get(cell["baseline"] + AGAIN)
        found.append(f"{control['cpu_ratio']:.2f}" if control and base else "")
        rows.append(found)
    return tables.markdown(header, rows)


def facts_lines(facts):
    virtual = f", virtual ({facts['virtual']})" if facts["virtual"] else ""
    changed = ", with changes that are not committed" if facts["changed"] else ""
    lines = [f"- {facts['processor']}, {facts['cores']} cores{virtual}, "
             f"{facts['memory_bytes'] / 2 ** 30:.0f} GiB; Linux {facts['kernel']}, "
             f"{facts['system']}",
             f"- commit {facts['commit']}{changed}"]
    lines += [f"- {name}: {text}" for name, text in facts["versions"].items()]
    return lines


def counts_lines(counts):
    if not counts:
        return []
    rows = [[LABELS[name], *(f"{found[key]:.3f}" if isinstance(found[key], float) else found[key]
                             for key in ("syscalls", "allocations"))]
            for name, found in counts.items()]
    return ["## System calls and allocations", "",
            "64 connections, 64 B, in runs of their own: strace and a counting malloc cost time.",
            "", *tables.markdown(["server", "system calls/request", "allocations/request"], rows),
            ""]


def report(result, plots):
    """Returns the lines of the whole report; plots are names of files beside it."""
    facts, options = result["facts"], result["options"]
    quiet = sum(cell["quiet"] for cell in result["cells"])
    shares = [arm["others"] for cell in result["cells"] for arm in cell["arms"].values() if arm]
    lines = [f"# Benchmark of {result['date']}", "", *facts_lines(facts), "",
             f"{options['rounds']} rounds of {options['seconds']:g} s, all servers of a load in "
             f"turn. Server on {options['server_cores']}, client on {options['client_cores']}.",
             "CPU is the processor time of the server, of all its threads. Times are the least of",
             "the rounds, requests/s the most; the spread is between the dearest and the cheapest",
             "round; at a share of the slowest, latencies are medians of the rounds. Ratios are to",
             "the baseline of the load. A load was quiet if the same command",
             f"twice gave the same within {QUIET:.0%}: {quiet} of {len(result['cells'])}.",
             f"Other work took up to {max(shares, default=0):.0%} of a core, warming up included.",
             "", "## Processor time beside the baseline", "", *overview(result["cells"]), ""]
    lines += counts_lines(result["counts"])
    for plot in plots:
        lines += [f"![{plot}]({plot})", ""]
    if result["absent"]:
        lines += ["## Not measured", "", *(f"- {text}" for text in result["absent"]), ""]
    for group in dict.fromkeys(cell["group"] for cell in result["cells"]):
        lines += [f"## {TITLES[group]}", ""]
        for cell in result["cells"]:
            lines += cell_lines(cell) if cell["group"] == group else []
    return lines
