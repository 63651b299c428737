"""A certificate for measurements over TLS, and the servers that use it."""

import dataclasses
import pathlib
import shutil
import signal
import subprocess

from runner import http, process, servers
from runner.failure import Failure

# nginx without a master process ends by the signal.
STATUSES = (0, -signal.SIGTERM)
LABELS = {"epoll": "Millrace, epoll", "io_uring": "Millrace, io_uring",
          "c": "C, epoll and OpenSSL", "nginx": "nginx", "nio": "SwiftNIO with NIOSSL"}
REPLY = ("HTTP/1.1 200 OK\r\nServer: c\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
         f"Content-Type: text/plain\r\nContent-Length: {len(http.BODY)}\r\n\r\n{http.BODY}")

NGINX = """
daemon off; master_process off; worker_processes 1; pid {dir}/nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 1000000000; default_type text/plain;
    keepalive_timeout 600s;
    client_body_temp_path {dir}/a; proxy_temp_path {dir}/b; fastcgi_temp_path {dir}/c;
    uwsgi_temp_path {dir}/d; scgi_temp_path {dir}/e;
    ssl_certificate {certificate}; ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache none; ssl_session_tickets on;
    server {{
        listen 127.0.0.1:{port} ssl backlog=1024; location / {{ return 200 "{body}"; }}
    }}
}}
"""


class Files:
    """A certificate for 127.0.0.1 with a key on the curve P-256, in a folder of the caller."""

    def __init__(self, folder, binaries=servers.BIN):
        self.folder, self.binaries = pathlib.Path(folder), binaries
        self.certificate, self.key = self.folder / "certificate.pem", self.folder / "key.pem"
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                 "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                 "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
                 "-keyout", str(self.key), "-out", str(self.certificate)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failure(f"openssl made no certificate: {done.stderr.strip()[-400:]}")

    def ours(self, program, backend, *options):
        """Returns the command of an example server."""
        return [str(self.binaries / program), "--listen", f"tls://{process.HOST}:0", "--loops", "1",
                "--backend", backend, "--tls-certificate", str(self.certificate),
                "--tls-key", str(self.key), *options]

    def in_c(self, *options):
        """Returns the command of the server in C, with the settings of ours: released buffers, one
        ticket for each handshake. Reading ahead is what a careful program adds."""
        return [str(self.binaries / "c-tls-echo"), "0", "--certificate", str(self.certificate),
                "--key", str(self.key), "--minimum", "1.2", "--read-ahead", "--release-buffers",
                *options]

    def nginx(self, port):
        path = self.folder / "nginx.conf"
        path.write_text(NGINX.format(dir=self.folder, port=port, body=http.BODY, key=self.key,
                                     certificate=self.certificate))
        return [shutil.which("nginx", path=http.PATH), "-p", str(self.folder), "-e", "stderr",
                "-c", str(path)]

    def nio(self):
        return [str(self.binaries / "nio-tls-echo"), "0", str(self.certificate), str(self.key)]


@dataclasses.dataclass(frozen=True)
class Program:
    """A way to start a server: its words, or a function from a port if it announces none."""
    words: object
    needs_port: bool = False

    def start(self):
        words, port = self.words, None
        if self.needs_port:
            port = process.free_port()
            words = words(port)
        return process.Server(words, cores=process.cores(1)[0], port=port, quotes_errors=True,
                              statuses=STATUSES)


def programs(files):
    """Returns by the server's key the echo server, and the web server or None."""
    nginx = Program(files.nginx, needs_port=True)
    return {
        "epoll": (Program(files.ours("echo-server", "epoll")),
                  Program(files.ours("http-server", "epoll"))),
        "io_uring": (Program(files.ours("echo-server", "io_uring")),
                     Program(files.ours("http-server", "io_uring"))),
        "c": (Program(files.in_c()), Program(files.in_c("--reply", REPLY))),
        "nginx": (None, nginx),
        "nio": (Program(files.nio()), None),
    }


def absent():
    """Returns by the server's key why it cannot be measured here."""
    found = {}
    if not (servers.BIN / "nio-tls-echo").is_file():
        found["nio"] = servers.notes().get("nio-tls-echo", "`make peers` builds it")
    if not shutil.which("nginx", path=http.PATH):
        found["nginx"] = "`make peers` installs it"
    return found
