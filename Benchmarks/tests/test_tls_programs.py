"""Tests the echo server and the load client over TLS: every byte, both handshakes, each version."""

import json
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import unittest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BENCHMARKS))

from runner import process, servers, tls_servers  # noqa: E402

CLIENT = servers.BIN / "tls-load-client"
PATIENCE = 60


def load(port, *words):
    done = subprocess.run([CLIENT, "--port", str(port), *words], capture_output=True,
                          text=True, timeout=PATIENCE)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


class ProgramTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.files = tls_servers.Files(folder.name)

    def server(self, *options):
        return process.Server(self.files.in_c(*options), patience=PATIENCE, quotes_errors=True)

    def connect(self, server):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.files.certificate)
        plain = socket.create_connection((process.HOST, server.port), PATIENCE)
        return context.wrap_socket(plain, server_hostname=process.HOST)

    def test_every_byte_comes_back(self):
        shapes = ((1, 1), (8, 64), (8, 16384), (4, 16385), (3, 1000000))
        plain = self.files.in_c()
        plain = [word for word in plain if word not in ("--read-ahead", "--release-buffers")]
        for words in (self.files.in_c(), plain):
            with process.Server(words, patience=PATIENCE) as server:
                for version in ("1.2", "1.3"):
                    for connections, size in shapes:
                        status, found, said = load(
                            server.port, "--connections", str(connections), "--size", str(size),
                            "--requests", "40", "--warmup-requests", "5", "--tls", version)
                        self.assertEqual((status, said), (0, ""), (version, connections, size))
                        self.assertEqual((found["requests"], found["tls"]), (40, version))

    def test_bytes_that_a_client_does_not_read_are_kept(self):
        sent = bytes(range(256)) * 40000
        with self.server() as server, self.connect(server) as connection:
            connection.settimeout(1)
            done = 0
            try:
                while done < len(sent):
                    done += connection.send(sent[done:done + 65536])
            except TimeoutError:
                pass
            connection.settimeout(PATIENCE)
            received = bytearray()
            while len(received) < done:
                received += connection.recv(65536)
            self.assertEqual(bytes(received), sent[:done])

    def test_sessions_are_resumed_only_when_that_is_measured(self):
        with self.server() as server:
            for version in ("1.2", "1.3"):
                for mode, resumed in (("full", 0), ("resumed", 40)):
                    status, found, said = load(
                        server.port, "--mode", mode, "--connections", "4", "--requests", "40",
                        "--tls", version)
                    self.assertEqual((status, said), (0, ""), (version, mode))
                    self.assertEqual((found["requests"], found["resumed"]), (40, resumed))

    def test_a_cipher_is_the_one_that_was_asked_for(self):
        with self.server() as server:
            for version, cipher in (("1.3", "TLS_AES_128_GCM_SHA256"),
                                    ("1.2", "ECDHE-ECDSA-AES128-GCM-SHA256")):
                _, found, said = load(
                    server.port, "--requests", "1", "--tls", version, "--cipher", cipher)
                self.assertEqual(found.get("cipher"), cipher, said)

    def test_an_idle_connection_costs_memory(self):
        with self.server() as server:
            _, found, said = load(server.port, "--requests", "1", "--idle", "100",
                                  "--server-pid", str(server.pid))
            self.assertGreater(found.get("server_rss_bytes_per_idle", 0), 1000, said)
            self.assertGreater(found["server_cpu_us_per_request"], 0)

    def test_a_reply_answers_each_request(self):
        with self.server("--reply", "answer") as server, self.connect(server) as connection:
            for request, answers in ((b"GET / HTTP/1.1\r\n\r\n", 1), (b"a\r\n\r", 0),
                                     (b"\nb\r\n\r\nc\r\n\r\n", 3)):
                connection.sendall(request)
                received = b""
                while len(received) < 6 * answers:
                    received += connection.recv(100)
                self.assertEqual(received, b"answer" * answers)
            status, found, said = load(server.port, "--requests", "5", "--request", "x\r\n\r\n")
            self.assertEqual((status, said), (0, ""))

    def test_other_bytes_than_those_that_were_sent_are_an_error(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.files.certificate, self.files.key)

        def answer(listener):
            with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
                received = b""
                while len(received) < 64:
                    received += connection.recv(64)
                connection.sendall(received[:63] + b"?")
                connection.recv(1)

        with socket.create_server((process.HOST, 0)) as listener:
            listener.settimeout(PATIENCE)
            thread = threading.Thread(target=answer, args=(listener,))
            thread.start()
            status, _, said = load(listener.getsockname()[1], "--requests", "1")
            thread.join(PATIENCE)
        self.assertEqual((status, said), (
            1, "tls-load-client: connection 0: not the bytes that were sent\n"))

    def test_wrong_options_are_refused(self):
        for words in ([], ["--port", "1"], ["--port", "1", "--requests", "1", "--seconds", "1"],
                      ["--port", "1", "--requests", "1", "--mode", "half"],
                      ["--port", "1", "--requests", "1", "--tls", "1.1"], ["--nosuch"]):
            done = subprocess.run([CLIENT, *words], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr[:17]), (2, "tls-load-client: "), words)
        for words in ([], ["0"], ["0", "--certificate", "x"], ["--certificate", "x", "--key", "x"],
                      ["0", "--certificate", "x", "--key", "x", "--minimum", "1.1"]):
            done = subprocess.run([servers.BIN / "c-tls-echo", *words], capture_output=True,
                                  text=True)
            self.assertEqual((done.returncode, done.stderr[:6]), (2, "usage:"), words)
        done = subprocess.run([servers.BIN / "c-tls-echo", "0", "--certificate", "/nosuch",
                               "--key", "/nosuch"], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr[:12]), (1, "c-tls-echo: "))

    def test_a_server_that_is_gone_is_an_error(self):
        status, _, said = load(process.free_port(), "--requests", "1")
        self.assertEqual((status, said.startswith("tls-load-client: connection 0: connect: ")),
                         (1, True), said)


if __name__ == "__main__":
    unittest.main()
