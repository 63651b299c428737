"""Tests the servers in C that answer or echo in special ways: every byte, and every reply."""

import json
import pathlib
import platform
import re
import socket
import subprocess
import threading
import unittest

BIN = pathlib.Path(__file__).resolve().parents[2] / ".build/bin"
PATIENCE = 60
# The kernel that incremental buffers need, the newest feature on trial.
NEEDED = (6, 12)


class Server:
    """A server on port 0, which must end orderly, or the test fails."""

    def __init__(self, *words):
        self.words = [str(BIN / words[0]), *words[1:]]

    def __enter__(self):
        self.process = subprocess.Popen(self.words, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.port = int(re.search(r":(\d+)$", line).group(1))
        return self

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def __exit__(self, kind, *_):
        self.process.terminate()
        status = self.process.wait(PATIENCE)
        self.process.stdout.close()
        if kind is None and status != 0:
            raise AssertionError(f"{self.words} ended with {status}")


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
    tried = subprocess.Popen([BIN / words[0], *words[1:]], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
    with tried:
        listens = tried.stdout.readline()
        tried.terminate()
        said = tried.stderr.read()
    return said.strip() if not listens and "io_uring_setup" in said else None


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
