"""Turns the samples of `bench fairness` into its tables: no processes, only arithmetic.

Other work on the machine only adds to a time, so for the control the least round counts. For the
server under test the median counts: a server that stalls in two rounds of three is not fair.
"""

import statistics

# A wait beside a disturber may be this many times as long as one in the control.
MOST_TIMES_CONTROL = 20
# The least rate of accepting, as a share of another build's.
LEAST_OF_BEFORE = 0.95
HEADER = ("backend", "loops", "disturber", "p50", "p99", "least", "max", "control", "ratio",
          "disturber/s", "goal")
CHURN_HEADER = ("backend", "loops", "build", "connections/s", "median", "server us", "of before",
                "goal")
# Columns of words, not numbers.
WORDS = ("backend", "disturber", "build", "goal")


def of_cell(samples, controls, limit_ms):
    """Returns times in milliseconds. A sample is the clients' report and the disturber's."""
    p99s = [clients["p99_us"] / 1e3 for clients, _ in samples]
    p99 = statistics.median(p99s)
    control = min(clients["p99_us"] / 1e3 for clients, _ in controls)
    found = {
        "p50": statistics.median(clients["p50_us"] / 1e3 for clients, _ in samples),
        "p99": p99,
        "p99_least": min(p99s),
        "max": max(clients["max_us"] / 1e3 for clients, _ in samples),
        "control": control,
        "ratio": p99 / control,
        "rate": statistics.median(disturber["requests_per_second"] for _, disturber in samples),
        "limit": limit_ms,
    }
    return found | {"holds": goal_holds(p99, control, limit_ms)}


def goal_holds(p99, control, limit):
    return p99 <= limit or p99 <= MOST_TIMES_CONTROL * control


def churn_of_cell(samples, before=None):
    """Returns a build's figures; `before` are the samples of another build, or None."""
    rates = [sample["requests_per_second"] for sample in samples]
    found = {
        "rate": max(rates),
        "rate_median": statistics.median(rates),
        "cpu_us": min(sample["server_cpu_us_per_request"] for sample in samples),
        "of_before": None,
        "holds": True,
    }
    if before:
        share = max(rates) / max(sample["requests_per_second"] for sample in before)
        found |= {"of_before": share, "holds": share >= LEAST_OF_BEFORE}
    return found


def row(name, found):
    backend, loops, disturber = name
    times = [f"{found[key]:.3f}" for key in ("p50", "p99", "p99_least", "max", "control")]
    goal = f"{found['limit']:g} ms: " + ("holds" if found["holds"] else "MISSED")
    return [backend, str(loops), disturber, *times, f"{found['ratio']:.1f}",
            f"{found['rate']:.0f}", goal]


def churn_row(name, found):
    backend, loops, build = name
    compared = found["of_before"] is not None
    goal = ("holds" if found["holds"] else "MISSED") if compared else "-"
    return [backend, str(loops), build, f"{found['rate']:.0f}", f"{found['rate_median']:.0f}",
            f"{found['cpu_us']:.2f}", f"{found['of_before']:.3f}" if compared else "-", goal]
