"""Tests the servers in C that answer or echo in special ways: every byte, and every reply."""

import json
import pathlib
import platform
import socket
import subprocess
import sys
import threading
import unittest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BENCHMARKS))

from runner import process, servers  # noqa: E402
from runner.failure import Failure  # noqa: E402

BIN = servers.BIN
PATIENCE = 60
# The kernel that incremental buffers need, the newest feature on trial.
NEEDED = (6, 12)


class Server(process.Server):
    def __init__(self, *words, **options):
        super().__init__([servers.BIN / words[0], *words[1:]], patience=PATIENCE, **options)

    def connect(self):
        return socket.create_connection((process.HOST, self.port), PATIENCE)


def received(connection, length):
    found = b""
    while len(found) < length:
        piece = connection.recv(length - len(found))
        if not piece:
            raise AssertionError(f"closed after {len(found)} of {length} bytes")
        found += piece
    return found


class FixedReplyTests(unittest.TestCase):
    def test_a_request_is_the_shortest_piece_that_the_first_bytes_repeat(self):
        with Server("c-fixed-reply", "0", "+OK\r\n") as server, server.connect() as connection:
            connection.sendall(b"GET a " * 4)
            self.assertEqual(received(connection, 20), b"+OK\r\n" * 4)
            connection.sendall(b"GE")
            connection.sendall(b"T a GET a ")
            self.assertEqual(received(connection, 10), b"+OK\r\n" * 2)
            # Another connection, another length.
            with server.connect() as other:
                other.sendall(b"PING")
                self.assertEqual(received(other, 5), b"+OK\r\n")

    def test_replies_that_the_socket_does_not_take_follow_in_order(self):
        reply, count = "".join(chr(33 + number % 90) for number in range(30000)), 1000
        with Server("c-fixed-reply", "0", reply) as server, server.connect() as connection:
            connection.sendall(b"x y")
            self.assertEqual(received(connection, len(reply)), reply.encode())
            sender = threading.Thread(target=connection.sendall, args=(b"x y" * count,))
            sender.start()
            for _ in range(count):
                self.assertEqual(received(connection, len(reply)), reply.encode())
            sender.join(PATIENCE)

    def test_a_reply_that_is_missing_or_too_long_is_refused(self):
        for words in (["0"], ["0", ""], ["0", "x" * 40000]):
            done = subprocess.run([BIN / "c-fixed-reply", *words], capture_output=True, text=True,
                                  timeout=PATIENCE)
            self.assertEqual((done.returncode, done.stderr[:6]), (2, "usage:"))


def why_no_ring(*words):
    """Returns the server's message where a sandbox forbids io_uring, or None. If the server does
    not start for another reason, the tests must fail."""
    try:
        with Server(*words, quotes_errors=True):
            return None
    except Failure as failure:
        return str(failure) if "io_uring_setup" in str(failure) else None


class DatagramTests(unittest.TestCase):
    # Also with more datagrams than a batch holds, and with nearly the greatest length.
    SHAPES = ((64, 64, 1), (1, 8, 1), (8, 64, 16), (4, 16384, 4), (1, 65000, 1))

    def check(self, *way):
        for connections, size, pipeline in self.SHAPES:
            with self.subTest(connections=connections, size=size), \
                    Server("c-udp-echo", "0", *way) as server:
                words = [BIN / "load-client", "--to", f"udp://127.0.0.1:{server.port}",
                         "--connections", str(connections), "--size", str(size),
                         "--pipeline", str(pipeline), "--requests", "2000", "--json"]
                done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertGreater(json.loads(done.stdout)["requests"], 0)
        # More turns than there are buffers, so that each buffer has been returned.
        with Server("c-udp-echo", "0", *way) as server, \
                socket.socket(type=socket.SOCK_DGRAM) as asking:
            asking.settimeout(PATIENCE)
            asking.connect(("127.0.0.1", server.port))
            for number in range(300):
                for datagram in (b"", b"%d" % number):
                    asking.send(datagram)
                    self.assertEqual(asking.recv(100), datagram)

    def test_waiting_in_the_receiving_call(self):
        self.check()
        self.check("block")

    def test_waiting_in_epoll(self):
        self.check("epoll")

    def test_receiving_by_a_ring(self):
        if said := why_no_ring("c-udp-echo", "0", "io_uring"):
            self.skipTest(said)
        self.check("io_uring")

    def test_another_way_is_refused(self):
        for words in ([], ["0", "poll"], ["0", "epoll", "epoll"], ["-1", "epoll"]):
            done = subprocess.run([BIN / "c-udp-echo", *words], capture_output=True, text=True,
                                  timeout=PATIENCE)
            self.assertEqual((done.returncode, done.stderr[:6]), (2, "usage:"), words)


class TrialTests(unittest.TestCase):
    TRIED = ("", "--direct", "--bundle", "--send-bundle", "--incremental", "--zero-copy 1",
             "--minimum-wait 20", "--ring coop", "--ring plain", "--direct --bundle",
             "--direct --send-bundle", "--direct --incremental --zero-copy 4096",
             "--incremental --buffers 2 --buffer-size 256")
    SHAPES = ((64, 64, 1), (64, 64, 16), (8, 65536, 2), (40, 20000, 4))

    def setUp(self):
        version = tuple(int(part) for part in platform.release().split(".")[:2])
        if version < NEEDED:
            self.skipTest(f"Linux {platform.release()} does not know all that is tried")
        if said := why_no_ring("c-uring-trial", "0"):
            self.skipTest(said)

    def test_whatever_is_tried_echoes_every_byte(self):
        for tried in self.TRIED:
            for connections, size, pipeline in self.SHAPES:
                with self.subTest(tried=tried, connections=connections, size=size), \
                        Server("c-uring-trial", *tried.split(), "0") as server:
                    words = [BIN / "load-client", "--port", str(server.port),
                             "--connections", str(connections), "--size", str(size),
                             "--pipeline", str(pipeline), "--requests", "2000"]
                    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
                    self.assertEqual(done.returncode, 0, done.stderr)

    def test_what_cannot_go_together_is_refused(self):
        for words in (["--bundle", "--incremental"], ["--send-bundle", "--zero-copy", "1"],
                      ["--ring", "square"], ["--buffers", "3"], ["--wait-for", "-1"], []):
            done = subprocess.run([BIN / "c-uring-trial", *words, *(["0"] if words else [])],
                                  capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual((done.returncode, done.stderr[:6]), (2, "usage:"), words)


if __name__ == "__main__":
    unittest.main()
