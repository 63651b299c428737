"""The charts of a result."""

from runner import svg
from runner.markdown import LABELS

# Colours that colour-blind readers can distinguish. No two series have the same shape and filling,
# so that they also differ in grey. io_uring is hollow, in the colour and shape of its epoll.
STYLES = {
    "epoll": svg.Style("#d55e00", "circle"),
    "io_uring": svg.Style("#d55e00", "circle", hollow=True),
    "c-epoll": svg.Style("#24292f", "square"),
    "c-uring": svg.Style("#24292f", "square", hollow=True),
    "c-udp-epoll": svg.Style("#24292f", "pentagon"),
    "c-udp-uring": svg.Style("#24292f", "pentagon", hollow=True),
    "c-udp": svg.Style("#999999", "hexagon"),
    "nio": svg.Style("#0072b2", "triangle"),
    "nio-async": svg.Style("#0072b2", "triangle", hollow=True),
    "libuv": svg.Style("#009e73", "diamond"),
    "libevent": svg.Style("#cc79a7", "inverted triangle"),
    "go": svg.Style("#e69f00", "plus"),
    "gnet": svg.Style("#8c564b", "cross"),
    "tasks-epoll": svg.Style("#d55e00", "hexagon", hollow=True),
    "tasks-uring": svg.Style("#d55e00", "diamond", hollow=True),
    "timeout-epoll": svg.Style("#56b4e9", "star"),
    "timeout-uring": svg.Style("#56b4e9", "star", hollow=True),
}
MEASURES = {
    "throughput": ("requests/s, best round", lambda arm: arm["requests_per_second"]["best"]),
    "cpu": ("server CPU, us per request", lambda arm: arm["server_cpu_us_per_request"]["best"]),
    "p50": ("p50, us", lambda arm: arm["p50_us"]["best"]),
    "p99": ("p99, us", lambda arm: arm["p99_us"]["best"]),
    "p99.9": ("p99.9, us", lambda arm: arm["p999_us"]["best"]),
}
TITLES = {"throughput": "Requests per second", "cpu": "Processor time of a request",
          "p50": "Latency, p50", "p99": "Latency, p99", "p99.9": "Latency, p99.9"}


def size_name(size):
    return f"{size // 1024} KiB" if size >= 1024 else f"{size} B"


def series_of(cells, value):
    names = [name for name in STYLES if any(cell["arms"].get(name) for cell in cells)]
    rows = []
    for name in names:
        arms = [cell["arms"].get(name) for cell in cells]
        rows.append((LABELS[name], STYLES[name], [value(arm) if arm else None for arm in arms]))
    return rows


def along(result, pipeline, key, fixed):
    """Returns the echo cells of one pipeline that differ in `key` alone, in its order."""
    other, value = fixed
    found = [cell for cell in result["cells"] if cell["group"] == "echo"
             and cell["pipeline"] == pipeline and cell[other] == value]
    return sorted(found, key=lambda cell: cell[key])


def line_charts(result, pipeline):
    charts = {}
    deep = f", pipelined by {pipeline}" if pipeline > 1 else ""
    by = (("connections", ("size", 64), str, "connections", "64 B"),
          ("size", ("connections", 64), size_name, "bytes of a request", "64 connections"))
    for key, fixed, named, axis, constant in by:
        cells = along(result, pipeline, key, fixed)
        if len(cells) < 2:
            continue
        for measure, (unit, value) in MEASURES.items():
            title = f"{TITLES[measure]}: echo, {constant}{deep}"
            ending = "" if pipeline == 1 else f"-pipelined-{pipeline}"
            charts[f"{measure}-by-{key}{ending}.svg"] = svg.lines(
                title, unit, axis, [named(cell[key]) for cell in cells], series_of(cells, value),
                logarithmic=measure != "throughput" or key == "size")
    return charts


def percentile_chart(cell):
    which = "median" if cell["group"] == "open" else "best"
    series = series_of([cell], lambda arm: [arm[key][which] for key in
                                            ("p50_us", "p99_us", "p999_us")])
    series = [(label, style, values[0]) for label, style, values in series]
    title = f"Latency: {cell['group']}, {cell['name']}"
    unit = "us, median of rounds" if which == "median" else "us, best round"
    return svg.bars(title, unit, ["p50", "p99", "p99.9"], series)


def charts(result):
    """Returns SVG text by file name."""
    found = {}
    for pipeline in sorted({cell["pipeline"] for cell in result["cells"]}):
        found |= line_charts(result, pipeline)
    for cell in result["cells"]:
        shape = (cell["connections"], cell["size"], cell["pipeline"])
        if shape == (64, 64, 1) and cell["group"] in ("echo", "schedule", "open"):
            rate = f"-{cell['rate']}" if cell["group"] == "schedule" else ""
            found[f"percentiles-{cell['group']}{rate}.svg"] = percentile_chart(cell)
    return found
