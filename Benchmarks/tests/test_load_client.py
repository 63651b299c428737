"""Tests that the load client notices and counts the faults of servers that misbehave on purpose.

Run by `make test-bench`. The servers are threads of this process. Figures are compared generously,
because the machine may be busy.
"""

import json
import pathlib
import signal
import socket
import subprocess
import threading
import time
import unittest

CLIENT = pathlib.Path(__file__).resolve().parents[2] / ".build/bin/load-client"
PATIENCE = 60


class StreamServer:
    """Echoes through `answer`, which may change the bytes, wait, or return None to close."""

    def __init__(self, answer, family=socket.AF_INET, address=("127.0.0.1", 0)):
        self.answer = answer
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.bind(address)
        self.listener.listen(64)
        self.accepted = 0
        self.bytes = 0
        self.peers = set()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, peer = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            self.peers.add(peer[0] if peer else "")
            threading.Thread(target=self.echo, args=(connection,), daemon=True).start()

    def echo(self, connection):
        with connection:
            try:
                while data := connection.recv(65536):
                    answer = self.answer(data)
                    if answer is None:
                        return
                    connection.sendall(answer)
                    self.bytes += len(answer)
            except OSError:
                return

    @property
    def where(self):
        return "tcp://127.0.0.1:%d" % self.listener.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class DatagramServer:
    def __init__(self, answer):
        self.answer = answer
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.ending = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        number = 0
        while True:
            data, sender = self.socket.recvfrom(65536)
            if self.ending:
                return
            answer = self.answer(number, data)
            number += 1
            if answer is not None:
                self.socket.sendto(answer, sender)

    @property
    def where(self):
        return "udp://127.0.0.1:%d" % self.socket.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ending = True
        self.socket.sendto(b"", self.socket.getsockname())
        self.thread.join()
        self.socket.close()


def run(where, *words, size=64, connections=1):
    words = [CLIENT, "--json", "--to", where, "--size", size, "--connections", connections, *words]
    return subprocess.run([str(word) for word in words], capture_output=True, text=True,
                          timeout=PATIENCE)


class StallOnce:
    """Answers at once, except for one pause."""

    def __init__(self, seconds, after):
        self.seconds, self.after, self.seen = seconds, after, 0

    def __call__(self, data):
        self.seen += 1
        if self.seen == self.after:
            time.sleep(self.seconds)
        return data


class LoadClientTests(unittest.TestCase):
    def report(self, done):
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def refusal(self, done, status, text):
        self.assertEqual(done.returncode, status, done.stdout)
        self.assertIn(text, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)

    def test_requests_that_fall_due_during_a_stall_count_from_when_they_were_due(self):
        with StreamServer(StallOnce(1, after=50)) as server:
            report = self.report(run(server.where, "--rate", 1000, "--requests", 1000))
        # Nearly all were due while the server slept: the first of them waited a second, the later
        # ones less and less.
        self.assertGreater(report["max_us"], 900_000)
        self.assertGreater(report["p90_us"], 500_000)

    def test_a_closed_loop_meets_the_same_stall_once(self):
        with StreamServer(StallOnce(1, after=50)) as server:
            report = self.report(run(server.where, "--requests", 200))
        self.assertGreater(report["max_us"], 900_000)
        self.assertLess(report["p90_us"], 500_000)

    def test_what_could_not_be_sent_in_time_is_counted(self):
        with StreamServer(StallOnce(0.5, after=10)) as server:
            report = self.report(run(server.where, "--rate", 1000, "--seconds", 0.3))
        self.assertGreater(report["unsent"], 100)
        self.assertGreater(report["p50_us"], 50_000)

    def test_a_schedule_is_kept(self):
        with StreamServer(lambda data: data) as server:
            report = self.report(run(server.where, "--rate", 500, "--seconds", 1, connections=4))
        due = 500 * report["seconds"]
        self.assertAlmostEqual(report["requests"] + report["unsent"], due, delta=20)

    def test_a_wrong_byte_ends_the_run(self):
        def flip(data):
            return data[:40] + bytes([data[40] ^ 1]) + data[41:]

        with StreamServer(flip) as server:
            self.refusal(run(server.where, "--requests", 10), 1, "mismatch")

    def test_bytes_that_were_never_sent_end_the_run(self):
        with StreamServer(lambda data: data + b"!") as server:
            self.refusal(run(server.where, "--requests", 10), 1, "mismatch")

    def test_a_server_that_closes_ends_the_run(self):
        with StreamServer(lambda data: None) as server:
            self.refusal(run(server.where, "--requests", 10), 1, "closed by the server")

    def test_a_server_that_keeps_silent_ends_the_run(self):
        with StreamServer(lambda data: b"") as server:
            self.refusal(run(server.where, "--requests", 10, "--timeout", 0.5), 1, "timeout")

    def test_lost_datagrams_are_counted_and_do_not_hold_up_the_run(self):
        with DatagramServer(lambda number, data: None if number % 10 == 9 else data) as server:
            report = self.report(run(server.where, "--requests", 200, "--pipeline", 8,
                                     "--lost-after", 0.5))
        self.assertEqual(report["requests"] + report["lost"], 200)
        # The dropped datagrams, and on a busy machine a few whose answers came too late.
        self.assertGreaterEqual(report["lost"], 20)
        self.assertGreater(report["requests"], 0)

    def test_no_datagram_answered_at_all(self):
        with DatagramServer(lambda number, data: None) as server:
            report = self.report(run(server.where, "--requests", 20, "--pipeline", 10,
                                     "--lost-after", 0.1))
        self.assertEqual((report["requests"], report["lost"]), (0, 20))

    def test_a_late_datagram_is_not_taken_for_a_new_one(self):
        def slow(number, data):
            if number == 3:
                time.sleep(0.4)
            return data

        with DatagramServer(slow) as server:
            report = self.report(run(server.where, "--requests", 50, "--lost-after", 0.1))
        self.assertEqual(report["requests"] + report["lost"], 50)
        self.assertGreaterEqual(report["lost"], 1)

    def test_a_wrong_byte_in_a_datagram_ends_the_run(self):
        with DatagramServer(lambda number, data: data[:-1] + b"\x00") as server:
            self.refusal(run(server.where, "--requests", 50), 1, "mismatch")

    def test_every_request_of_a_churn_has_a_connection_of_its_own(self):
        with StreamServer(lambda data: data) as server:
            report = self.report(run(server.where, "--churn", "--requests", 50, connections=2))
            self.assertEqual(report["requests"], 50)
            self.assertEqual(server.accepted, 50)

    def test_failed_connections_of_a_churn_are_counted(self):
        answers = iter([b"", None] * 1000)

        def close_each_second(data):
            return data if next(answers) is not None else None

        with StreamServer(close_each_second) as server:
            report = self.report(run(server.where, "--churn", "--requests", 40))
        self.assertEqual((report["requests"], report["errors"]), (20, 20))

    def test_a_flood_counts_its_connections_and_asks_nothing(self):
        with StreamServer(lambda data: data) as server:
            told = self.report(run(server.where, "--flood", "--seconds", 0.1))
            end = time.monotonic() + PATIENCE
            # The last connections are still in the backlog.
            while server.accepted < told["requests"] and time.monotonic() < end:
                time.sleep(0.01)
            self.assertGreater(told["requests"], 0)
            self.assertGreaterEqual(server.accepted, told["requests"])
            self.assertEqual(server.bytes, 0)

    def test_a_flood_of_nobody_ends(self):
        with StreamServer(lambda data: data) as server:
            where = server.where
        self.refusal(run(where, "--flood", "--seconds", PATIENCE), 1, "in a row failed")

    def test_the_measured_time_is_announced(self):
        with StreamServer(lambda data: data) as server:
            done = run(server.where, "--announce", "--requests", 5, "--warmup-requests", 5)
            self.assertEqual((done.returncode, done.stderr), (0, "measuring\n"))

    def test_idle_connections_ask_once_and_are_held(self):
        with StreamServer(lambda data: data) as server:
            report = self.report(run(server.where, "--idle", 20, "--requests", 100))
            self.assertEqual((report["idle"], report["requests"]), (20, 100))
            self.assertEqual(server.accepted, 21)

    def test_addresses_are_taken_in_turn(self):
        with StreamServer(lambda data: data) as server:
            self.report(run(server.where, "--requests", 100, "--sources", 4, connections=8))
            self.assertEqual(server.peers, {f"127.0.0.{last}" for last in (2, 3, 4, 5)})

    def test_an_interrupt_ends_the_measured_time_with_a_report(self):
        with StreamServer(lambda data: data) as server:
            words = [CLIENT, "--json", "--to", server.where, "--size", "64", "--connections", "1",
                     "--seconds", "1000"]
            client = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
            end = time.monotonic() + PATIENCE
            # Answered requests mean that measuring has begun.
            while server.bytes < 1000 and time.monotonic() < end:
                time.sleep(0.01)
            client.send_signal(signal.SIGINT)
            out, _ = client.communicate(timeout=PATIENCE)
        self.assertEqual(client.returncode, 0)
        self.assertGreater(json.loads(out)["requests"], 0)

    def test_unix_sockets_carry_the_same_load(self):
        name = f"millrace-load-client-{time.monotonic_ns()}"
        with StreamServer(lambda data: data, socket.AF_UNIX, "\0" + name):
            report = self.report(run(f"unix://@{name}", "--requests", 100, size=5000))
        self.assertEqual((report["transport"], report["requests"]), ("unix", 100))

    def test_what_makes_no_sense_is_refused(self):
        for words in (["--churn", "--requests", 1, "--rate", 5], ["--requests", 1, "--idle", -1],
                      ["--requests", 1, "--seconds", 1], ["--requests", 1, "--rate", 0], [],
                      ["--flood"]):
            self.refusal(run("tcp://127.0.0.1:9", *words), 2, "load-client:")
        self.refusal(run("udp://127.0.0.1:9", "--requests", 1, size=4), 2, "datagram")
        self.refusal(run("http://127.0.0.1:9", "--requests", 1), 2, "--to takes")


if __name__ == "__main__":
    unittest.main()
