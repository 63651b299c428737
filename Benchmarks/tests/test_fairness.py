"""Tests that `bench fairness` evaluates samples, measures a cell and checks its goal."""

import pathlib
import re
import subprocess
import sys
import unittest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BENCHMARKS))

from runner import fairness_goals as goals, tables  # noqa: E402

BENCH = BENCHMARKS / "bench"
SERVER = BENCHMARKS.parent / ".build/bin/fairness-server"
PATIENCE = 120


def sample(p99_ms, rate=100.0):
    clients = {"p50_us": p99_ms * 500, "p99_us": p99_ms * 1000, "max_us": p99_ms * 2000}
    return clients, {"requests_per_second": rate}


def churned(rate, cpu=10.0):
    return {"requests_per_second": rate, "server_cpu_us_per_request": cpu}


class GoalTests(unittest.TestCase):
    def test_the_median_p99_is_held_against_the_least_control(self):
        found = goals.of_cell([sample(300), sample(4), sample(62, 200.0)],
                              [sample(9), sample(2), sample(3)], 5)
        self.assertEqual((found["p50"], found["p99"], found["p99_least"]), (31, 62, 4))
        self.assertEqual((found["max"], found["control"], found["rate"]), (600, 2, 100))
        self.assertAlmostEqual(found["ratio"], 31)
        self.assertFalse(found["holds"])

    def test_a_goal_holds_by_its_limit_or_by_the_control(self):
        for p99, control, holds in ((5, 0.1, True), (5.1, 0.1, False), (10, 0.5, True),
                                    (10.1, 0.5, False)):
            self.assertEqual(goals.goal_holds(p99, control, 5), holds, (p99, control))
        self.assertTrue(goals.goal_holds(20, 0.1, 20))

    def test_churn_is_compared_by_the_best_rounds(self):
        before = [churned(1000.0), churned(500.0)]
        for rate, holds in ((950.0, True), (949.0, False)):
            found = goals.churn_of_cell([churned(100.0, 12.0), churned(rate)], before)
            self.assertAlmostEqual(found["of_before"], rate / 1000)
            self.assertEqual((found["holds"], found["cpu_us"]), (holds, 10))
        alone = goals.churn_of_cell([churned(1.0)])
        self.assertEqual((alone["of_before"], alone["holds"]), (None, True))


class TableTests(unittest.TestCase):
    def test_numbers_stand_below_each_other(self):
        rows = [goals.row(("epoll", 1, "flood"), goals.of_cell([sample(p99)], [sample(1)], 5))
                for p99 in (1000, 2)]
        lines = tables.aligned(goals.HEADER, rows, goals.WORDS)
        self.assertRegex(lines[1], r"^epoll +1  flood +500\.000 +1000\.000 .* 1000\.0 +100  "
                                   r"5 ms: MISSED$")
        self.assertTrue(lines[2].endswith("  2.0          100  5 ms: holds"), lines[2])
        self.assertEqual(lines[1].index("5 ms"), lines[0].index("goal"))

    def test_a_build_alone_has_no_goal(self):
        row = goals.churn_row(("epoll", 1, "this"), goals.churn_of_cell([churned(5.0)]))
        self.assertEqual(row, ["epoll", "1", "this", "5", "5", "10.00", "-", "-"])


class RunTests(unittest.TestCase):
    def run_it(self, *words):
        few = ["--seconds", "0.3", "--rounds", "1", "--backend", "epoll", "--loops", "1"]
        return subprocess.run([BENCH, "fairness", *few, *words], capture_output=True, text=True,
                              timeout=PATIENCE)

    def test_a_cell_beside_its_control(self):
        done = self.run_it("--only", "dear-pipeline", "--check")
        # The machine decides whether the goal holds here, but the exit status must agree with it.
        self.assertRegex(done.stdout, r"\nepoll +1  dear-pipeline( +[\d.]+){7}  5 ms: ",
                         done.stderr)
        self.assertEqual(done.returncode, 1 if "MISSED" in done.stdout else 0)

    def test_two_builds_take_turns(self):
        done = self.run_it("--only", "churn", "--before", str(SERVER))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(re.search(r"\nepoll +1  before .* -\n", done.stdout), done.stdout)
        self.assertTrue(re.search(r"\nepoll +1  this ( +[\d.]+){4}  ", done.stdout), done.stdout)

    def test_what_cannot_be_is_refused(self):
        for words in (["--loops", "0"], ["--only", "rain"], ["--seconds", "0"],
                      ["--server", "/nonexistent"]):
            self.assertEqual(self.run_it(*words).returncode, 2, words)


if __name__ == "__main__":
    unittest.main()
