"""Turns samples into figures.

Other work on the machine only ever adds, so the lowest round counts for times, and the highest for
rates. The median stands beside it, and the spread shows the distance between the rounds.
"""

import statistics

from runner.rounds import AGAIN

# The most that two runs of the same command may differ in a quiet cell.
QUIET = 0.05
LOWEST = ("server_cpu_us_per_request", "client_cpu_us_per_request", "p50_us", "p90_us", "p99_us",
          "p999_us", "max_us")
MEDIANS = ("server_user_share", "server_voluntary_switches_per_request",
           "server_involuntary_switches_per_request", "server_wait_us_per_request",
           "server_peak_rss_bytes", "server_rss_bytes_per_idle", "others", "stolen")
SUMS = ("requests", "lost", "late", "errors", "unsent")


def of_arm(samples):
    """Returns the figures of one server, or None without a sample."""
    if not samples:
        return None
    rates = [sample["requests_per_second"] for sample in samples]
    found = {"rounds": len(samples),
             "requests_per_second": {"best": max(rates), "median": statistics.median(rates)}}
    for key in LOWEST:
        values = [sample[key] for sample in samples]
        found[key] = {"best": min(values), "median": statistics.median(values),
                      "worst": max(values)}
    costs = [sample["server_cpu_us_per_request"] for sample in samples]
    found["spread"] = max(costs) / min(costs) - 1
    for key in MEDIANS:
        if key in samples[0]:
            found[key] = statistics.median(sample[key] for sample in samples)
    for key in SUMS:
        found[key] = sum(sample[key] for sample in samples)
    return found


def best(samples):
    """Returns the least cost and the highest rate of samples that are pairs of both."""
    return min(cost for cost, _ in samples), max(rate for _, rate in samples)


def ratio(over, under, key):
    return over[key]["best"] / under[key]["best"]


def of_cell(cell, baseline, samples, failures, closed_loop=None):
    arms = {name: of_arm(found) for name, found in samples.items()}
    base = arms[baseline]
    for name, arm in arms.items():
        if arm is None or base is None:
            continue
        arm["cpu_ratio"] = ratio(arm, base, "server_cpu_us_per_request")
        arm["rate_ratio"] = ratio(arm, base, "requests_per_second")
        arm["p99_ratio"] = ratio(arm, base, "p99_us")
        arm["p999_median_ratio"] = arm["p999_us"]["median"] / base["p999_us"]["median"]
    control = arms.get(baseline + AGAIN)
    noise = abs(control["cpu_ratio"] - 1) if control and base else None
    return {
        "group": cell.group, "name": cell.name, "connections": cell.connections,
        "size": cell.size, "pipeline": cell.pipeline, "transport": cell.transport,
        "loops": cell.loops, "idle": cell.idle, "churn": cell.churn, "rate": cell.rate,
        "share": cell.share, "closed_loop": closed_loop,
        "baseline": baseline, "control_off_by": noise,
        "quiet": noise is not None and noise <= QUIET,
        "arms": arms, "failures": failures, "samples": samples,
    }
