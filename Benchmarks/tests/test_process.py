"""Tests of a server's start and end, against programs that misbehave."""

import os
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

BENCHMARKS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BENCHMARKS))

from runner import client, proc, process, tables, turns  # noqa: E402
from runner.failure import Failure, Unavailable  # noqa: E402

LINE = "print('listening on tcp://127.0.0.1:%d (epoll)' % port, flush=True)\n"
WAITS = "time.sleep(600)\n"
ORDERLY = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"


def server(text, **options):
    """Returns a server that is a Python program."""
    begin = "import signal, socket, sys, time\nport = 7\n"
    return process.Server([sys.executable, "-c", begin + text], **options)


class ServerTests(unittest.TestCase):
    def failure(self, one, kind=Failure):
        with self.assertRaises(kind) as caught:
            with one:
                pass
        with self.assertRaises(ProcessLookupError):
            os.kill(one.process.pid, 0)
        return str(caught.exception)

    def test_the_address_is_read_and_the_end_is_orderly(self):
        with server(ORDERLY + LINE + WAITS, cores=process.cores(1)[0]) as one:
            self.assertEqual((one.address, one.port), ("tcp://127.0.0.1:7", 7))
            self.assertGreater(proc.resident_bytes(one.pid), 0)
        self.assertEqual(one.process.returncode, 0)
        self.assertIn("(epoll)", one.said())

    def test_a_program_that_does_not_exist(self):
        with self.assertRaisesRegex(Failure, "^no such program: './nosuch 0'$"):
            process.Server(["./nosuch", 0])

    def test_a_server_that_keeps_silent(self):
        self.assertIn("no listening line within 0.5 s of",
                      self.failure(server(WAITS, patience=0.5)))

    def test_a_server_that_ends_gives_its_reason(self):
        self.assertIn("no listening line, ended with 3: ", self.failure(server("sys.exit(3)")))
        self.assertIn("no listening line, but 'hello': ", self.failure(server("print('hello')")))
        told = self.failure(server("sys.exit('no ring')", quotes_errors=True))
        self.assertTrue(told.endswith(": no ring"), told)

    def test_a_backend_that_cannot_run_is_not_a_failure_of_its_own(self):
        one = server("sys.exit('io_uring cannot run here: sandbox')", quotes_errors=True)
        self.assertEqual(self.failure(one, Unavailable), "io_uring cannot run here: sandbox")

    def test_a_server_that_ignores_the_signal_is_killed(self):
        text = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + LINE + WAITS
        self.assertIn("did not end well (-9)", self.failure(server(text, patience=1)))

    def test_the_status_at_the_end_counts_unless_another_failure_comes_first(self):
        self.assertIn("did not end well (-15)", self.failure(server(LINE + WAITS)))
        with server(LINE + WAITS, statuses=(0, -15)), server(LINE + WAITS, ends=False):
            pass
        with self.assertRaisesRegex(Failure, "^first$"):
            with server(LINE + WAITS):
                raise Failure("first")

    def test_much_output_does_not_block(self):
        much = "print('x' * 1_000_000, file=sys.stderr)\nprint('y' * 1_000_000)\n"
        with server(ORDERLY + much + LINE + much + WAITS, quotes_errors=True) as one:
            self.assertEqual(len(one.errors()), 400)

    def test_every_line_is_awaited(self):
        two = ORDERLY + LINE + "time.sleep(0.3)\nport = 8\n" + LINE + WAITS
        with server(two, lines=2) as one:
            self.assertEqual(one.addresses, ["tcp://127.0.0.1:7", "tcp://127.0.0.1:8"])

    def test_a_log_has_all_output(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "it.log"
            text = ORDERLY + "print('warm', file=sys.stderr, flush=True)\n" + LINE + WAITS
            with server(text, log=path) as one:
                self.assertIn("warm", one.said())
            self.assertEqual(path.read_text(), one.said())

    def test_a_program_without_lines_starts_at_once_and_stops_once(self):
        with server("sys.exit(4)", lines=0) as one:
            one.process.wait()
            with self.assertRaisesRegex(Failure, r"did not end well \(4\)"):
                one.stop()

    def test_a_port_that_opens_late(self):
        port = process.free_port()
        text = ORDERLY + f"time.sleep(0.3)\none = socket.create_server(('127.0.0.1', {port}))\n"
        with server(text + WAITS, port=port) as one:
            self.assertEqual(one.address, f"tcp://127.0.0.1:{port}")
        self.assertIn(f"no listener on port {port}, ended with 1",
                      self.failure(server("sys.exit(1)", port=port)))


class ClientTests(unittest.TestCase):
    def measured(self, cost):
        report = {"server_cpu_us_per_request": cost, "requests": 7, "seconds": 0.3}
        with mock.patch.object(client, "Client") as fake:
            fake.return_value.__enter__.return_value.report.return_value = report
            return client.measure(mock.Mock(), [])

    def test_a_server_that_had_no_processor_time_has_no_figure(self):
        self.assertEqual(self.measured(2.0)["requests"], 7)
        with self.assertRaisesRegex(Failure, "^7 requests in 0.3 s, and no processor time"):
            self.measured(0.0)

    def test_the_disturbance_is_a_share_of_one_core(self):
        one = client.Client(mock.Mock(address="tcp://127.0.0.1:1"), [])
        one.began, one.before = 10, (100, 5)
        found = {"server_cpu_us_per_request": 1.0, "client_cpu_us_per_request": 3.0,
                 "requests": 250_000}
        with mock.patch.object(client.time, "monotonic", lambda: 12), \
                mock.patch.object(client.proc, "busy_seconds", lambda: (102, 5.5)):
            self.assertEqual(one.disturbance(found), {"others": 0.5, "stolen": 0.25})

    def test_a_client_that_fails_names_the_server(self):
        with client.Client(mock.Mock(address="tcp://127.0.0.1:1"), ["--nosuch"]) as one:
            one.server.name = "the server"
            with self.assertRaisesRegex(Failure, r"^load-client: .*\(against the server\)$"):
                one.report()


class TurnTests(unittest.TestCase):
    def test_every_second_round_is_reversed(self):
        found = list(turns.alternating(2, "xy", lambda cell: cell + "z"))
        self.assertEqual(found, [(1, "x", "x"), (1, "x", "z"), (1, "y", "y"), (1, "y", "z"),
                                 (2, "x", "z"), (2, "x", "x"), (2, "y", "z"), (2, "y", "y")])


class TableTests(unittest.TestCase):
    def test_numbers_stand_right_and_a_short_row_is_words(self):
        found = tables.aligned(["name", "ms"], [["a", "100"], ["other: none of them"]], ["name"])
        self.assertEqual(found, ["name   ms", "a     100", "other: none of them"])
        self.assertEqual(tables.markdown(["a", "b"], [["1", "2"]], ["b"]),
                         ["| a | b |", "| --- | ---: |", "| 1 | 2 |"])


if __name__ == "__main__":
    unittest.main()
