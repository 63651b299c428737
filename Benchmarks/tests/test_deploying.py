"""Tests of the files in Examples/deploy, and of the example servers under a service manager, which
the test plays."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "Benchmarks"))

from runner import http, process, service_manager, tls_servers  # noqa: E402
from runner.process import HOST, PATIENCE  # noqa: E402

BIN = ROOT / ".build/bin"
DEPLOY = ROOT / "Examples/deploy"
FORMS = [(backend, loops) for backend in ("epoll", "io_uring") for loops in (1, 2)]


def echo(form):
    return [BIN / "echo-server", "--backend", form[0], "--loops", form[1]]


def exchange(client):
    with client:
        client.settimeout(PATIENCE)
        client.sendall(b"hello")
        return client.recv(100)


def get(port, path="/plaintext"):
    with socket.create_connection((HOST, port), PATIENCE) as client:
        client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    return answer.decode()


class ServiceManagerTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.files = tls_servers.Files(cls.folder)

    def test_passed_sockets_of_each_kind_serve(self):
        for form in FORMS:
            path = str(self.folder / f"{form[0]}-{form[1]}.sock")
            kinds = {
                "stream": service_manager.listener(),
                "tls": service_manager.listener(),
                "path": service_manager.listener(path, socket.AF_UNIX),
                "datagrams": service_manager.listener(kind=socket.SOCK_DGRAM)}
            words = [*echo(form), "--tls-certificate", self.files.certificate, "--tls-key",
                     self.files.key]
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(self.files.certificate)
            with self.subTest(form=form), service_manager.server(
                    words, list(kinds.values()), list(kinds), lines=4) as server:
                schemes = [address.split("://")[0] for address in server.addresses]
                self.assertEqual(schemes, ["tcp", "tls", "unix", "udp"])
                place = {name: one.getsockname() for name, one in kinds.items()}
                self.assertEqual(exchange(socket.create_connection(place["stream"])), b"hello")
                secured = context.wrap_socket(socket.create_connection(place["tls"]),
                                              server_hostname=HOST)
                self.assertEqual(exchange(secured), b"hello")
                for family, kind, name in ((socket.AF_UNIX, socket.SOCK_STREAM, "path"),
                                           (socket.AF_INET, socket.SOCK_DGRAM, "datagrams")):
                    client = socket.socket(family, kind)
                    client.connect(place[name])
                    self.assertEqual(exchange(client), b"hello")
            # The service manager still has the sockets, so a client is not refused.
            self.assertTrue(pathlib.Path(path).exists())
            socket.create_connection(place["stream"]).close()
            for one in kinds.values():
                one.close()

    def test_a_client_that_connects_during_a_restart_is_served_by_the_next_server(self):
        for form in FORMS:
            with self.subTest(form=form), service_manager.listener() as one:
                with service_manager.server(echo(form), [one]):
                    self.assertEqual(exchange(socket.create_connection(one.getsockname())),
                                     b"hello")
                early = socket.create_connection(one.getsockname())
                early.sendall(b"early ")
                with service_manager.server(echo(form), [one]):
                    self.assertTrue(exchange(early).startswith(b"early "))

    def test_messages_tell_of_the_start_a_reload_and_the_stop(self):
        # Without a certificate there is nothing to read again, and SIGHUP must not end the server.
        for is_abstract, words in ((False, self.files.ours("echo-server", "epoll")),
                                   (True, self.files.ours("echo-server", "epoll")),
                                   (False, echo(("epoll", 1)))):
            messages = service_manager.Messages(is_abstract)
            with service_manager.server(words, [], messages=messages) as server:
                self.assertEqual(messages.next(), ["READY=1"])
                server.process.send_signal(signal.SIGHUP)
                reload = messages.next()
                self.assertEqual(reload[0], "RELOADING=1")
                self.assertRegex(reload[1], r"^MONOTONIC_USEC=\d+$")
                self.assertEqual(messages.next(), ["READY=1"])
            self.assertEqual(messages.next(), ["STOPPING=1"])
            with self.assertRaises(TimeoutError):
                messages.next(0.01)
            messages.close()

    def test_a_stopped_process_sends_no_ping(self):
        messages = service_manager.Messages()
        with service_manager.server(echo(("epoll", 2)), [], messages=messages,
                                    environment={"WATCHDOG_USEC": "100000"}) as server:
            self.assertEqual(messages.next(), ["READY=1"])
            for _ in range(3):
                self.assertEqual(messages.next(), ["WATCHDOG=1"])
            server.process.send_signal(signal.SIGSTOP)
            with self.assertRaises(TimeoutError):
                for _ in range(10):
                    messages.next(0.3)
            server.process.send_signal(signal.SIGCONT)
            self.assertEqual(messages.next(), ["WATCHDOG=1"])
        messages.close()

    def test_wrong_variables_are_one_line_and_a_failure(self):
        rows = [({"LISTEN_FDS": "x"}, 'LISTEN_FDS is "x"'),
                ({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}, "descriptor 4 is not open"),
                ({"LISTEN_FDNAMES": "a:b"}, "LISTEN_FDNAMES has 2 names for 1 descriptors"),
                ({"NOTIFY_SOCKET": "here"}, 'NOTIFY_SOCKET is "here"')]
        for environment, text in rows:
            with self.subTest(text), service_manager.listener() as one:
                words = ["bash", "-c", service_manager.PASS, "bash", "1", str(one.fileno()),
                         *map(str, echo(("epoll", 1)))]
                done = subprocess.run(
                    words, capture_output=True, text=True, timeout=PATIENCE,
                    pass_fds=(one.fileno(),),
                    env={**os.environ, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "a", **environment})
                self.assertEqual(done.returncode, 1)
                self.assertTrue(done.stderr.startswith("error: "), done.stderr)
                self.assertIn(text, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_a_descriptor_for_another_process_is_left_alone(self):
        with service_manager.listener() as one:
            words = ["bash", "-c", service_manager.PASS + " --listen tcp://127.0.0.1:0", "bash",
                     "1", str(one.fileno()), "env", "LISTEN_PID=1", *echo(("epoll", 1))]
            with process.Server(words, environment={"LISTEN_FDS": "1"},
                                inherits=(one.fileno(),)) as server:
                self.assertNotEqual(server.port, one.getsockname()[1])
                self.assertEqual(exchange(socket.create_connection((HOST, server.port))), b"hello")


class ContainerTests(unittest.TestCase):
    """The seccomp profile, as a filter without a container."""

    def server(self, *options):
        words = [sys.executable, ROOT / "Benchmarks/runner/seccomp.py",
                 DEPLOY / "seccomp-io_uring.json", *options, "--", BIN / "http-server", "--listen",
                 f"tcp://{HOST}:0", "--loops", "2", "--root", DEPLOY]
        return process.Server(words, quotes_errors=True)

    def expect_service(self, server):
        self.assertIn("200 OK", get(server.port))
        self.assertIn("SCMP_ACT_ALLOW", get(server.port, "/seccomp-io_uring.json"))

    def test_the_profile_allows_io_uring_and_all_else_that_a_server_needs(self):
        with self.server() as server:
            self.assertIn("backend: io_uring", server.said())
            self.expect_service(server)
            self.assertEqual(server.errors(), "")

    def test_with_io_uring_refused_a_server_runs_on_epoll_and_logs_the_reason(self):
        for number, name in ((1, "EPERM"), (38, "ENOSYS")):
            with self.subTest(name), self.server(
                    "--without", "io_uring_setup", "--errno", str(number)) as server:
                self.assertIn("backend: epoll", server.said())
                self.expect_service(server)
                lines = server.errors().split("\n")
                self.assertEqual(len(lines), 1, lines)
                self.assertIn("epoll instead of io_uring: ", lines[0])
                self.assertIn(name, lines[0])


    def test_the_health_check_of_the_image_sees_a_server_and_its_absence(self):
        text = (DEPLOY / "Containerfile").read_text().replace("\\\n", "")
        words = json.loads(re.search(r"^HEALTHCHECK .* CMD (\[.*\])$", text, re.M).group(1))
        with self.server() as server:
            words[-1] = words[-1].replace("/8080;", f"/{server.port};")
            # A container runs it under its profile too.
            words = [sys.executable, str(ROOT / "Benchmarks/runner/seccomp.py"),
                     str(DEPLOY / "seccomp-io_uring.json"), "--", *words]
            self.assertEqual(subprocess.run(words, timeout=PATIENCE).returncode, 0)
        done = subprocess.run(words, timeout=PATIENCE, stderr=subprocess.DEVNULL)
        self.assertNotEqual(done.returncode, 0)


class FileTests(unittest.TestCase):
    @unittest.skipUnless(shutil.which("systemd-analyze"), "no systemd-analyze")
    def test_systemd_finds_no_fault_in_the_units(self):
        with tempfile.TemporaryDirectory() as folder:
            for unit in (DEPLOY / "systemd").iterdir():
                # The program is not installed here.
                text = unit.read_text().replace("/usr/local/bin/http-server", "/bin/true")
                (pathlib.Path(folder) / unit.name).write_text(text)
            done = subprocess.run(
                ["systemd-analyze", "verify", "--man=no", *pathlib.Path(folder).iterdir()],
                capture_output=True, text=True, timeout=60)
            # It also complains of the machine's own units.
            ours = [line for line in done.stderr.splitlines() if "http-server" in line]
            self.assertEqual((done.returncode, ours), (0, []))

    @unittest.skipUnless(shutil.which("haproxy", path=http.PATH), "no haproxy")
    def test_haproxy_finds_no_fault_in_its_file(self):
        with tempfile.TemporaryDirectory() as folder:
            files = tls_servers.Files(folder)
            done = subprocess.run(
                [shutil.which("haproxy", path=http.PATH), "-c", "-q", "-f",
                 DEPLOY / "haproxy/haproxy.cfg"], text=True,
                capture_output=True, timeout=60,
                env={**os.environ, "MILLRACE_CA": str(files.certificate),
                     "MILLRACE_ADMIN": f"{folder}/admin.sock"})
            self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
