"""Tests that `bench compare` reports the fault of a server, uses datagrams, and reports the
complete rounds when it is ended early."""

import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCH = ROOT / "Benchmarks/bench"
BIN = ROOT / ".build/bin"
STREAMS = f"{BIN}/c-epoll-echo {{port}}"
DATAGRAMS = f"{BIN}/c-udp-echo {{port}}"
PATIENCE = 60
SILENT = """
import socket, time
with socket.socket() as listener:
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    print("listening on tcp://127.0.0.1:%d" % listener.getsockname()[1], flush=True)
    time.sleep(600)
"""


def words(a, b, *more):
    return [BENCH, "compare", "--a", a, "--b", b, "--cells", "4x64", "--warmup", "1", *more]


class FailureTests(unittest.TestCase):
    def told(self, command, patience=PATIENCE / 2):
        done = subprocess.run(words(STREAMS, command, "--rounds", "1", "--seconds", "0.1",
                                    "--patience", str(patience)),
                              capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        return done.stderr.splitlines()[-1]

    def test_a_program_that_does_not_exist(self):
        self.assertEqual(self.told("./nosuch-echo {port}"),
                         "compare: no such program: './nosuch-echo 0'")

    def test_a_server_that_ends_at_once(self):
        self.assertRegex(self.told("sh -c 'exit 3'"),
                         "^compare: no listening line, ended with 3: .*exit 3")

    def test_a_server_that_says_nothing_or_something_else(self):
        self.assertRegex(self.told("sleep 600", 3),
                         "^compare: no listening line within 3 s .*sleep")
        self.assertRegex(self.told("echo hello"), "^compare: no listening line, but 'hello'")

    def test_a_server_that_answers_nothing(self):
        with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
            script.write(SILENT)
            script.flush()
            self.assertRegex(self.told(f"{sys.executable} {script.name}", 3),
                             "^compare: load-client: timeout: no answer for .*0 of 4 .*against")


class ReportTests(unittest.TestCase):
    def test_datagrams_are_asked_for_where_the_server_says_so(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "it.json"
            done = subprocess.run(words(f"{DATAGRAMS} epoll", DATAGRAMS, "--rounds", "2",
                                        "--seconds", "0.2", "--json", path),
                                  capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual(done.returncode, 0, done.stderr)
            cell = json.loads(path.read_text())["cells"]["4x64"]
        self.assertEqual([len(arm["cpu_us"]) for arm in cell["arms"].values()], [2, 2])
        self.assertGreater(cell["ratios"]["A/B"]["of_minima"], 0)

    def ended_after(self, line, server, number):
        """Ends compare after a matching line on standard error. communicate() then shows that no
        process still holds that open."""
        with subprocess.Popen(words(server, server, "--rounds", "1000", "--seconds", "0.2"),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            try:
                while not re.search(line, found := running.stderr.readline()):
                    self.assertNotEqual(found, "")
                running.send_signal(number)
                out, err = running.communicate(timeout=PATIENCE)
            finally:
                running.kill()
        return running.returncode, out, err.splitlines()[-1]

    def test_whoever_is_ended_early_reports_the_whole_rounds(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            status, out, last = self.ended_after(r" round ([2-9]|\d\d)", STREAMS, number)
            self.assertEqual(status, 128 + number)
            self.assertIn("A/B", out)
            self.assertRegex(last, rf"^compare: {number.name} after \d+ whole rounds of 1000")

    def test_whoever_is_ended_at_once_says_so(self):
        status, out, last = self.ended_after(
            "started", "sh -c 'echo started >&2; exec sleep 600'", signal.SIGTERM)
        self.assertEqual((status, out), (128 + signal.SIGTERM, ""))
        self.assertEqual(last, "compare: SIGTERM before one round was whole")


if __name__ == "__main__":
    unittest.main()
