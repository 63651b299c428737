"""The loads over TLS, and one measurement of each kind."""

import dataclasses
import json
import re
import shlex
import subprocess

from runner import ending, http, proc, process, servers
from runner.failure import Failure

CLIENT = servers.BIN / "tls-load-client"
AES_128, AES_256 = "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"
ECDSA_12 = "ECDHE-ECDSA-AES256-GCM-SHA384"
REQUEST = f"GET /plaintext HTTP/1.1\r\nHost: {process.HOST}\r\n\r\n"
ALL = ("epoll", "io_uring", "c", "nginx", "nio")
ECHOES = ("epoll", "io_uring", "c", "nio")
WEB = ("epoll", "io_uring", "c", "nginx")
IDLE = 2000
PATIENCE = 120


@dataclasses.dataclass(frozen=True)
class Cell:
    """A load. `client` are options of the load client; wrk has none. `base` is the server beside
    which the others stand. `web` prefers the web servers to the echo servers."""
    title: str
    servers: tuple
    base: str
    client: tuple = ()
    web: bool = False
    unit: str = "us"

    def program(self, pair):
        echo, web = pair
        return web or echo if self.web else echo or web


def echo(size, cipher):
    return ("--connections", "8", "--size", str(size), "--cipher", cipher,
            "--warmup-requests", "500")


def handshakes(mode, version, cipher):
    return ("--mode", mode, "--tls", version, "--cipher", cipher, "--connections", "8",
            "--request", REQUEST, "--warmup-requests", "50")


CELLS = {
    "echo-64": Cell("64 B echo, 8 connections, AES-256", ECHOES, "c", echo(64, AES_256)),
    "echo-16k-128": Cell("16 KiB echo, 8 connections, AES-128", ECHOES, "c",
                         echo(16384, AES_128)),
    "echo-16k-256": Cell("16 KiB echo, 8 connections, AES-256", ECHOES, "c",
                         echo(16384, AES_256)),
    "wrk": Cell("GET by wrk, 64 connections, their handshakes included", WEB, "nginx", web=True),
    "get": Cell("GET, 64 connections, without their handshakes", WEB, "nginx",
                ("--connections", "64", "--request", REQUEST, "--cipher", AES_256,
                 "--warmup-requests", "500"), web=True),
    "full-1.3": Cell("full handshake and GET, TLS 1.3, ECDSA P-256", ALL, "nginx",
                     handshakes("full", "1.3", AES_256), web=True),
    "resumed-1.3": Cell("resumed handshake and GET, TLS 1.3", ALL, "nginx",
                        handshakes("resumed", "1.3", AES_256), web=True),
    "full-1.2": Cell("full handshake and GET, TLS 1.2, ECDSA P-256", ALL, "nginx",
                     handshakes("full", "1.2", ECDSA_12), web=True),
    "resumed-1.2": Cell("resumed handshake and GET, TLS 1.2", ALL, "nginx",
                        handshakes("resumed", "1.2", ECDSA_12), web=True),
    "idle": Cell(f"each of {IDLE:,} idle connections that asked once", ALL, "c",
                 ("--requests", "100", "--idle", str(IDLE), "--cipher", AES_256), unit="bytes"),
}


def finished(words, seconds):
    """Returns the ended load client."""
    try:
        return subprocess.run(process.pinned(words, process.cores(1)[1]), capture_output=True,
                              text=True, timeout=seconds + PATIENCE)
    except subprocess.TimeoutExpired:
        raise Failure(f"no end after {seconds + PATIENCE:g} s: {shlex.join(words)}") from None


def with_client(cell, server, is_web, seconds):
    """Returns the server's cost, and the requests per second."""
    words = [str(CLIENT), "--port", str(server.port), "--server-pid", str(server.pid),
             *cell.client]
    if "--requests" not in words:
        words += ["--seconds", str(seconds)]
    if is_web and "--request" not in words:
        words += ["--request", REQUEST]
    done = finished(words, seconds)
    if done.returncode != 0:
        # Control-C ends the client, too.
        ending.check()
        raise Failure(f"{done.stderr.strip()} (against {server.name})")
    found = json.loads(done.stdout)
    key = "server_rss_bytes_per_idle" if cell.unit == "bytes" else "server_cpu_us_per_request"
    return found[key], found["requests_per_second"]


def rate_of(output):
    """Returns the number of requests and their rate from what wrk prints. None after errors, and if
    the time was over before the handshakes were."""
    found = re.search(r"([1-9]\d*) requests in ", output)
    if not found or "Non-2xx" in output or "Socket errors" in output:
        return None
    return int(found.group(1)), float(re.search(r"Requests/sec:\s*([\d.]+)", output).group(1))


def with_wrk(server, seconds):
    words = ["wrk", "-t1", "-c64", f"-d{max(1, round(seconds))}s",
             f"https://{process.HOST}:{server.port}/plaintext"]
    before = proc.processor_seconds(server.pid)
    done = finished(words, seconds)
    used = proc.processor_seconds(server.pid) - before
    found = rate_of(done.stdout)
    if found is None:
        ending.check()
        raise Failure(f"{' '.join(words)}:\n{done.stdout}{done.stderr}")
    return used / found[0] * 1e6, found[1]


def measure(cell, pair, seconds):
    """Returns the cost of one measurement, in microseconds or bytes, and the rate."""
    program = cell.program(pair)
    with program.start() as server:
        if not cell.client:
            return with_wrk(server, seconds)
        return with_client(cell, server, program is pair[1], seconds)
