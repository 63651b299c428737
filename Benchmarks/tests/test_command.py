"""Tests of the subcommands of `bench`: their options, their messages, and a short run of each that
the other tests leave out."""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BENCHMARKS))

from runner import http  # noqa: E402

BENCH = BENCHMARKS / "bench"
COMMANDS = ("run", "open", "compare", "http", "kv", "tls", "hold", "fairness")
PATIENCE = 120


def bench(*words, **options):
    return subprocess.run([sys.executable, BENCH, *words], capture_output=True, text=True,
                          timeout=PATIENCE, **options)


class CommandTests(unittest.TestCase):
    def test_each_command_has_help_and_refuses_other_options(self):
        overview = bench("--help").stdout
        for command in COMMANDS:
            self.assertIn(f"    {command} ", overview)
            self.assertEqual(bench(command, "--help").returncode, 0, command)
            count = "--connections" if command == "hold" else "--rounds"
            for words in (["--nosuch"], [count, "-1"], [count, "x"]):
                done = bench(command, *words)
                self.assertEqual((done.returncode, done.stdout), (2, ""), (command, words))
                self.assertIn(f"bench {command}: error: ", done.stderr)

    def test_without_its_tools_a_command_names_the_remedy(self):
        with tempfile.TemporaryDirectory() as empty:
            for command, tool in (("http", "wrk"), ("kv", "redis-server"), ("tls", "wrk")):
                done = bench(command, env={"PATH": empty})
                self.assertEqual((done.returncode, done.stdout, done.stderr),
                                 (1, "", f"{command}: no {tool}: `make peers` installs it\n"))

    @unittest.skipUnless(shutil.which("wrk") and shutil.which("haproxy", path=http.PATH)
                         and shutil.which("nginx", path=http.PATH), "a tool is absent")
    def test_http_servers_take_turns(self):
        done = bench("http", "--rounds", "1", "--seconds", "1", "--loads", "64",
                     "--only", "floor,HAProxy")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"\n\| 64 \| HAProxy \| [\d.]+ \| \d+ \|  \|  \|\n$")

    @unittest.skipUnless(shutil.which("redis-server"), "redis-server is absent")
    def test_kv_servers_take_turns(self):
        done = bench("kv", "--rounds", "1", "--requests", "100")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.count("\n"), 2 + 2 * 2 * 4)
        self.assertRegex(done.stdout, r"\n\| SET \| 16 \| redis \| [\d,]+ \| 1\.00 \| [\d.]+ \| 1")

    def test_servers_over_tls_take_turns(self):
        with tempfile.TemporaryDirectory() as folder:
            done = bench("tls", "--rounds", "1", "--seconds", "0.1", "--loads",
                         "echo-64,resumed-1.3,idle", "--servers", "c,epoll", "--out", folder,
                         "--name", "x")
            self.assertEqual(done.returncode, 0, done.stderr)
            result = json.loads((pathlib.Path(folder) / "x.json").read_text())
            page = (pathlib.Path(folder) / "x.md").read_text()
        self.assertEqual([list(load["samples"]) for load in result["loads"]],
                         [["epoll", "c"]] * 3)
        self.assertRegex(page, r"\n\| C, epoll and OpenSSL \| [\d.]+ \| [\d.]+ \| 0% \| ")

    def test_idle_connections_are_held(self):
        done = bench("hold", "--connections", "50", "--servers", "c-epoll")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"\n\| C, epoll \| 50 \| 1 \| ")


if __name__ == "__main__":
    unittest.main()
