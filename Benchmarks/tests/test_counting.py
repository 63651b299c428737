"""Tests that events are counted for each request, and that the beginning and the end cancel out."""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BENCHMARKS))

from runner import client, counting, servers  # noqa: E402
from runner.failure import Failure  # noqa: E402

SERVER = [str(servers.BIN / "c-epoll-echo"), "0"]
CONFIG = {"connections": 4, "size": 64, "requests": [200, 1200], "idleConnections": 50}


class CountingTests(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        words = [str(client.CLIENT), "--size", "64"]
        self.counter = counting.Counter(CONFIG, words, pathlib.Path(directory.name))

    def test_what_is_the_same_in_both_runs_cancels_out(self):
        found = self.counter.per_request(
            lambda _, requests: {"a": 7 + 3 * requests, f"only {requests}": 500}, SERVER)
        self.assertEqual(found, {"a": 3, "only 1200": 0.5})

    @unittest.skipUnless(shutil.which("strace"), "strace is absent")
    def test_system_calls_of_a_request(self):
        found = self.counter.per_request(self.counter.strace, SERVER)["syscalls"]
        # A receive, a send, and a part of a wait or a whole one.
        self.assertTrue(2 <= found <= 3.2, found)

    def test_a_request_to_a_server_in_c_allocates_nothing(self):
        self.assertEqual(self.counter.per_request(self.counter.malloc_count, SERVER),
                         {"allocations": 0})

    def test_an_idle_connection_costs_memory(self):
        self.assertGreaterEqual(self.counter.bytes_per_idle(SERVER), 0)

    def test_a_client_that_fails_gives_its_reason(self):
        self.counter.client = [str(client.CLIENT), "--nosuch"]
        with self.assertRaisesRegex(Failure, "^load-client: "):
            self.counter.malloc_count(SERVER, 10)

    def test_a_command_in_turns_keeps_to_one_core(self):
        done = subprocess.run(counting.in_turns([
            sys.executable, "-c", "import os; print(len(os.sched_getaffinity(0)), "
            "os.sched_getscheduler(0) == os.SCHED_BATCH)"]), capture_output=True, text=True)
        self.assertEqual(done.stdout, "1 True\n", done.stderr)


class CallgrindTests(unittest.TestCase):
    def test_a_name_stands_only_where_it_first_occurs(self):
        with tempfile.NamedTemporaryFile("w") as dump:
            dump.write("fn=(1) main\n1 5\ncfn=(2) swift_retain\ncalls=3 0\n1 9\nfn=(3) other\n"
                       "cfn=(2)\ncalls=4 0\n1 9\nsummary: 123\ntotals: 123\n")
            dump.flush()
            self.assertEqual(counting.calls_of(dump.name),
                             {"swift_retain": 7, "instructions": 123})


if __name__ == "__main__":
    unittest.main()
