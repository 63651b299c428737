"""Tests the runner's arithmetic, tables and charts, and its reports of servers that fail."""

import contextlib
import dataclasses
import io
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock
from xml.etree import ElementTree

BENCHMARKS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BENCHMARKS))

from runner import cells, markdown, plots, rounds, servers, summary, svg  # noqa: E402
from runner.failure import Failure  # noqa: E402

BENCH = BENCHMARKS / "bench"


def sample(cpu, rate=1000.0):
    found = {key: 1.0 for key in summary.LOWEST + summary.MEDIANS}
    found |= {key: 3 for key in summary.SUMS}
    return found | {"server_cpu_us_per_request": cpu, "requests_per_second": rate}


def result_of(costs):
    """Returns a result with these processor times by server, in two cells."""
    found = []
    for cell in cells.echo((1, 64), (64,), (1,)):
        samples = {name: [sample(cpu) for cpu in row] for name, row in costs.items()}
        found.append(summary.of_cell(cell, "c-epoll", samples, {"nio": "it <fell> over"}))
    facts = {"processor": "P", "cores": 2, "memory_bytes": 2 ** 30, "virtual": "", "kernel": "6",
             "system": "S", "commit": "abc", "changed": True, "versions": {"Swift": "6"}}
    options = {"rounds": 2, "seconds": 1, "server_cores": "core 1", "client_cores": "0"}
    return {"date": "today", "facts": facts, "options": options, "cells": found,
            "absent": ["gnet: no Go"], "counts": {"epoll": {"syscalls": 2.0, "allocations": "no"}}}


class SummaryTests(unittest.TestCase):
    COSTS = {"epoll": [4.0, 3.0], "c-epoll": [2.0, 2.5], "c-epoll again": [2.02, 9.0], "nio": []}

    def test_ratios_are_of_the_cheapest_rounds(self):
        cell = result_of(self.COSTS)["cells"][0]
        self.assertEqual(cell["arms"]["epoll"]["cpu_ratio"], 1.5)
        self.assertAlmostEqual(cell["arms"]["epoll"]["spread"], 1 / 3)
        self.assertEqual(cell["arms"]["epoll"]["requests"], 6)

    def test_a_cell_is_quiet_if_the_same_command_twice_says_so(self):
        self.assertTrue(result_of(self.COSTS)["cells"][0]["quiet"])
        noisy = result_of(self.COSTS | {"c-epoll again": [2.2, 2.3]})["cells"][0]
        self.assertFalse(noisy["quiet"])
        self.assertIn("Noisy", "\n".join(markdown.cell_lines(noisy)))

    def test_without_its_baseline_a_cell_has_no_ratios_and_is_not_quiet(self):
        result = result_of(self.COSTS | {"c-epoll": []})
        self.assertFalse(result["cells"][0]["quiet"])
        self.assertIn("| failed |", "\n".join(markdown.report(result, [])))

    def test_the_report_tells_what_failed_and_what_was_absent(self):
        text = "\n".join(markdown.report(result_of(self.COSTS), ["a.svg"]))
        for part in ("SwiftNIO failed: it <fell> over", "gnet: no Go", "![a.svg](a.svg)",
                     "with changes that are not committed", "| Millrace, epoll | 2.000 | no |"):
            self.assertIn(part, text)

    def test_charts_are_well_formed(self):
        charts = plots.charts(result_of(self.COSTS))
        self.assertIn("cpu-by-connections.svg", charts)
        self.assertIn("percentiles-echo.svg", charts)
        for chart in charts.values():
            self.assertTrue(ElementTree.fromstring(chart).tag.endswith("svg"))


class OpenTests(unittest.TestCase):
    def result(self):
        cell = dataclasses.replace(cells.of_the_slowest((0.7,))[0], rate=700)
        samples = {name: [sample(1.0) | {"p999_us": value} for value in row] for name, row in
                   {"epoll": [10.0, 30.0, 20.0], "c-epoll": [10.0, 10.0, 90.0]}.items()}
        return summary.of_cell(cell, "c-epoll", samples, {}, {"epoll": 2000.0, "c-epoll": 1000.0})

    def test_latencies_are_medians_beside_the_least_and_the_most(self):
        text = "\n".join(markdown.cell_lines(self.result()))
        self.assertIn("64 x 64 B, 700/s, 70% of the slowest", text)
        row = next(line for line in text.splitlines() if line.startswith("| Millrace, epoll |"))
        self.assertIn("| 20 |", row)
        self.assertTrue(row.endswith("| 10 | 30 | 2.00 | 9 | 2,000 |"), row)

    def test_the_rate_is_of_the_slowest_that_works(self):
        cell = cells.of_the_slowest((0.7,))[0]
        speeds = {"fast": [3000.0, 2000.0, 1.0], "slow": [1000.0, 900.0, 9.0], "broken": [],
                  "disturbed": [4000.0, 4.0, 4.0, 4.0, 4.0]}

        def measure(server, asked, _):
            self.assertEqual(asked.share, 0)
            if not speeds[server]:
                raise Failure("it fell over")
            return {"requests_per_second": speeds[server].pop() if len(speeds[server]) > 1
                    else speeds[server][0], "others": 0}

        arms = {name: name for name in (*speeds, "fast" + rounds.AGAIN)}
        with mock.patch.object(rounds, "measure", measure), \
                contextlib.redirect_stderr(io.StringIO()) as told:
            options = mock.Mock(rate=0, quiet=0)
            planned, closed = rounds.with_rates([(cell, "fast", arms)], options)
        self.assertEqual(planned[0][0].rate, 700)
        self.assertEqual(closed, {0: {"fast": 3000.0, "slow": 1000.0,
                                      "disturbed": 4000.0}})
        self.assertIn("no rate of broken: it fell over", told.getvalue())

    def test_a_given_rate_needs_no_finding(self):
        cell = cells.of_the_slowest((0.7,))[0]
        planned, closed = rounds.with_rates([(cell, "fast", {})], mock.Mock(rate=500))
        self.assertEqual((planned[0][0].rate, closed), (500, {}))
        unfound = self.result() | {"closed_loop": None}
        self.assertIn("| 2.00 | 9 |  |", "\n".join(markdown.cell_lines(unfound)))


class QuietTests(unittest.TestCase):
    def chosen(self, disturbances, quiet):
        samples = iter([{"others": others} for others in disturbances])
        with mock.patch.object(rounds, "measure", lambda *_: next(samples)), \
                mock.patch.object(rounds, "wait_for_quiet", lambda _: None):
            return rounds.measure_quietly(None, None, mock.Mock(quiet=quiet))["others"]

    def test_a_disturbed_sample_is_repeated_and_the_quietest_kept(self):
        self.assertEqual(self.chosen([0.05], 1), 0.05)
        self.assertEqual(self.chosen([0.9, 0.02, 0.01], 1), 0.02)
        self.assertEqual(self.chosen([0.9, 0.3, 0.5], 1), 0.3)
        self.assertEqual(self.chosen([0.9, 0.1], 0), 0.9)

    def test_waiting_for_quiet_ends(self):
        clock = iter(range(100))
        with mock.patch.object(rounds.proc, "busy_seconds", lambda: (next(clock), 0)):
            started = time.monotonic()
            rounds.wait_for_quiet(0.4)
        self.assertGreaterEqual(time.monotonic() - started, 0.4)
        with mock.patch.object(rounds.proc, "busy_seconds", lambda: (0, 0)):
            rounds.wait_for_quiet(3600)


class ScaleTests(unittest.TestCase):
    def test_every_value_lies_within_the_frame(self):
        for values in ([1, 10], [0.29, 4], [7], [150000, 2300000], [1, 1]):
            for logarithmic in (True, False):
                scale = svg.Scale(values, logarithmic)
                for value in values:
                    self.assertLessEqual(svg.TOP - 0.01, scale.y(value))
                    self.assertLessEqual(scale.y(value), svg.HEIGHT - svg.BOTTOM + 0.01)


class LegendTests(unittest.TestCase):
    def test_no_two_series_look_alike_in_grey(self):
        looks = [(style.shape, style.hollow) for style in plots.STYLES.values()]
        self.assertEqual(len(looks), len(set(looks)))
        shapes = [svg.marker(0, 0, svg.Style("#000000", shape)) for shape in svg.SHAPES]
        self.assertEqual(len(shapes), len(set(shapes)))

    def test_a_bar_looks_like_its_sample_in_the_legend_and_has_its_number(self):
        series = [("a", svg.Style("#d55e00", "circle"), [1, 2]),
                  ("b", svg.Style("#d55e00", "circle", hollow=True), [3, 4])]
        chart = ElementTree.fromstring(svg.bars("title", "ms", ["x", "y"], series))
        fills = [part.get("fill") for part in chart if part.tag.endswith("rect")]
        texts = [part.text for part in chart if part.tag.endswith("text")]
        for fill, number in (("#d55e00", "1"), ("url(#hatch-d55e00)", "2")):
            self.assertEqual(fills.count(fill), 3)
            self.assertGreaterEqual(texts.count(number), 3)


class PlanTests(unittest.TestCase):
    def test_no_cell_is_there_twice_and_none_asks_for_too_much_memory(self):
        for preset in cells.PRESETS.values():
            self.assertEqual(len(preset), len(set(preset)))
            for cell in preset:
                flying = cell.connections * cell.size * cell.pipeline
                self.assertLessEqual(flying, cells.MOST_IN_FLIGHT)

    def test_every_cell_has_its_baseline_twice_and_both_backends(self):
        for cell, baseline, arms in rounds.plan(cells.FULL, servers.SERVERS, None):
            self.assertIn(baseline, cell.baselines)
            self.assertIs(arms[baseline], arms[baseline + rounds.AGAIN])
            self.assertLessEqual({"epoll", "io_uring"}, arms.keys(), cell)

    def test_another_baseline_holds_where_it_takes_part(self):
        planned = rounds.plan(cells.FULL, servers.SERVERS, "nio")
        named = {cell.group: baseline for cell, baseline, _ in planned}
        self.assertEqual((named["echo"], named["udp"]), ("nio", "c-udp-epoll"))

    def test_every_server_and_group_has_its_name_and_colour(self):
        self.assertEqual({server.key for server in servers.SERVERS}, plots.STYLES.keys())
        self.assertEqual(set(cells.GROUPS), markdown.TITLES.keys())


class CommandTests(unittest.TestCase):
    def run_bench(self, *words):
        return subprocess.run([str(BENCH), *words], capture_output=True, text=True, timeout=120)

    def test_a_result_is_written_and_plotted_again(self):
        with tempfile.TemporaryDirectory() as folder:
            done = self.run_bench("--groups", "udp", "--servers", "c-udp", "--rounds", "1",
                                  "--seconds", "0.1", "--out", folder, "--name", "it")
            self.assertEqual(done.returncode, 0, done.stderr)
            path = pathlib.Path(folder) / "it.json"
            arms = json.loads(path.read_text())["cells"][0]["arms"]
            self.assertEqual(list(arms), ["c-udp", "c-udp again"])
            report = path.with_suffix(".md")
            first = report.read_text()
            report.unlink()
            self.assertEqual(self.run_bench("--plot", str(path)).returncode, 0)
            self.assertEqual(report.read_text(), first)

    def test_a_signal_ends_the_run_and_its_servers(self):
        words = [str(BENCH), "--groups", "udp", "--servers", "c-udp", "--rounds", "1000"]
        with tempfile.TemporaryFile("w+") as out, subprocess.Popen(
                words, stdout=out, stderr=subprocess.PIPE, text=True) as running:
            # From now on a server runs most of the time.
            self.assertIn(" round ", running.stderr.readline())
            running.send_signal(signal.SIGTERM)
            # A server that was left behind would hold standard error open.
            running.communicate(timeout=60)
            self.assertEqual(running.returncode, 128 + signal.SIGTERM)

    def test_what_does_not_exist_is_refused(self):
        self.assertEqual(self.run_bench("nosuch").returncode, 2)
        for words in (["--groups", "nosuch"], ["--servers", "nosuch"], ["--rounds", "0"]):
            self.assertEqual(self.run_bench(*words).returncode, 2)
        self.assertEqual(self.run_bench("--plot", "/nonexistent.json").returncode, 1)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as other:
            other.write('{"rows": []}')
            other.flush()
            done = self.run_bench("--plot", other.name)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1))


if __name__ == "__main__":
    unittest.main()
