"""Tests that `bench tls` chooses servers, reads its clients and writes its report."""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BENCHMARKS))

from runner import http, tls, tls_cells, tls_servers  # noqa: E402

FACTS = {"processor": "P", "cores": 2, "virtual": "", "memory_bytes": 2 ** 30, "kernel": "6",
         "system": "S", "commit": "abc", "changed": False, "versions": {"OpenSSL": "3"},
         "load_average": 1.5}
LOAD = {"name": "wrk", "title": "T", "base": "nginx", "unit": "us", "failures": {"c": "why"},
        "samples": {"epoll": [[9.0, 100.0], [8.0, 90.0]], "c": [],
                    "nginx": [[10.0, 50.0], [10.0, 50.0]]}}
WRK = "  10240 requests in 2.06s, 1.30MB read\nRequests/sec:   4961.24\n"


class FigureTests(unittest.TestCase):
    def test_a_server_stands_beside_the_base_by_the_median_over_the_rounds(self):
        found = tls.figures([(9, 100), (8, 90), (12, 80)], [(20, 1), (16, 1), (16, 1)])
        self.assertEqual(found, {"least": 8, "median": 9, "spread": 0.5, "rate": 100,
                                 "ratio": 0.5})
        self.assertNotIn("ratio", tls.figures([(1, 1)], []))

    def test_wrk_without_an_answer_or_with_errors_is_no_measurement(self):
        self.assertEqual(tls_cells.rate_of(WRK), (10240, 4961.24))
        for wrong in ("", "  0 requests in 1.00s\nRequests/sec: 0.00\n",
                      WRK + "  Socket errors: connect 0, read 1\n",
                      WRK + "  Non-2xx or 3xx responses: 1\n"):
            self.assertIsNone(tls_cells.rate_of(wrong), wrong)


class ReportTests(unittest.TestCase):
    def test_a_load_has_a_row_for_each_server_that_was_measured(self):
        self.assertEqual(tls.load_lines(LOAD), [
            "## T", "", "In us of the server's processor for each.", "",
            "| server | least | median | spread | requests/s | beside nginx |",
            "| --- | --- | --- | --- | --- | --- |",
            "| Millrace, epoll | 8.00 | 8.50 | 12% | 100 | 0.85 |",
            "| nginx | 10.00 | 10.00 | 0% | 50 | 1.00 |", "",
            "C, epoll and OpenSSL failed: why", ""])

    def test_bytes_have_no_digits_and_no_rate(self):
        found = tls.row("c", {"least": 13007.4, "median": 13008, "spread": 0.1, "rate": 7}, "bytes")
        self.assertEqual(found, ["C, epoll and OpenSSL", "13,007", "13,008", "10%", "", ""])

    def test_the_record_and_the_page_stand_beside_each_other(self):
        result = {"date": "D", "facts": FACTS, "absent": ["A: why"], "load_average_at_end": 2.5,
                  "options": {"rounds": 2, "seconds": 0.5}, "loads": [LOAD]}
        with tempfile.TemporaryDirectory() as folder:
            page = tls.write(result, pathlib.Path(folder) / "new" / "x.json")
            text = page.read_text()
            self.assertEqual(json.loads(page.with_suffix(".json").read_text()), result)
        self.assertTrue(text.startswith("# TLS, D\n\n- P, 2 cores, 1 GiB; Linux 6, S\n"), text)
        for line in ("- load average 1.5 at the start, 2.5 at the end", "- not measured: A: why",
                     "| nginx | 10.00 | 10.00 | 0% | 50 | 1.00 |"):
            self.assertIn(f"\n{line}\n", text)


class ServerTests(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.files = tls_servers.Files(folder.name)

    def test_a_load_takes_the_server_that_it_is_for(self):
        found = tls_servers.programs(self.files)
        echo, web = tls_cells.CELLS["echo-64"], tls_cells.CELLS["full-1.3"]
        for key, one, other in (("epoll", "echo-server", "http-server"),
                                ("nio", "nio-tls-echo", "nio-tls-echo")):
            for cell, name in ((echo, one), (web, other)):
                self.assertEqual(pathlib.Path(cell.program(found[key]).words[0]).name, name)
        self.assertIs(echo.program(found["nginx"]), web.program(found["nginx"]))
        for name, cell in tls_cells.CELLS.items():
            self.assertIn(cell.base, cell.servers, name)
            self.assertLessEqual(set(cell.servers), set(found), name)

    def test_openssl_knows_the_certificate(self):
        done = subprocess.run(["openssl", "x509", "-noout", "-checkip", "127.0.0.1", "-in",
                               self.files.certificate], capture_output=True, text=True)
        self.assertIn("does match", done.stdout)

    @unittest.skipUnless(shutil.which("nginx", path=http.PATH), "nginx is absent")
    def test_nginx_accepts_its_configuration(self):
        done = subprocess.run([*self.files.nginx(1), "-t"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
