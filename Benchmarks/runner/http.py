"""Compares http-server with nginx, HAProxy and SwiftNIO: processor time and requests per second.

The floor beside them is a server in C that parses no request and answers each with the bytes of
http-server. No server on epoll, of one thread, can be cheaper. Each server has one thread on one
core, wrk another core. Noise only ever adds, so the minimum over the rounds counts for processor
time, and the maximum for requests per second.
"""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

from runner import ending, proc, process, servers, summary, tables, turns
from runner.failure import Failure
from runner.options import names
from runner.progress import Progress

FLOOR = "floor: C that reads no request"
BODY = "Hello, World!"
LOADS = {"64": (64, False), "256": (256, False), "64 x 16": (64, True)}
PATH = f"{os.environ['PATH']}:/usr/sbin"
TOOLS = ("wrk", "nginx", "haproxy")
# HAProxy without a master process ends by the signal.
STATUSES = (0, -signal.SIGTERM)

NGINX = """
daemon off; master_process off; worker_processes 1; pid {dir}/nginx.pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 1000000000; default_type text/plain;
    client_body_temp_path {dir}/a; proxy_temp_path {dir}/b; fastcgi_temp_path {dir}/c;
    uwsgi_temp_path {dir}/d; scgi_temp_path {dir}/e;
    server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ return 200 "{body}"; }} }}
}}
"""
HAPROXY = """
global
    nbthread 1
    maxconn 2000
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 5s
frontend plain
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string "{body}"
"""


def write(path, text):
    path.write_text(text)
    return path


def started(command):
    """Returns a server; `command` is a function from its port to its words."""
    port = process.free_port()
    return process.Server(command(port), cores=process.cores(1)[0], port=port,
                          quotes_errors=True, statuses=STATUSES)


def reply_of(command):
    """Returns this server's complete response to the request that wrk will send."""
    with started(command) as server:
        with socket.create_connection((process.HOST, server.port), 5) as connection:
            connection.sendall(f"GET /plaintext HTTP/1.1\r\nHost: {process.HOST}:{server.port}"
                               "\r\n\r\n".encode())
            answer = b""
            while not answer.endswith(BODY.encode()):
                piece = connection.recv(65536)
                if not piece:
                    raise Failure(f"no whole answer, but {answer!r}")
                answer += piece
    return answer.decode()


def commands(directory):
    """Returns for each name a function from a port to the command that starts the server."""
    def ours(backend):
        return lambda port: [servers.BIN / "http-server", "--backend", backend,
                             "--listen", f"tcp://{process.HOST}:{port}", "--loops", "1"]

    def nginx(port):
        text = NGINX.format(dir=directory, port=port, body=BODY)
        return [shutil.which("nginx", path=PATH), "-p", directory, "-e", "stderr",
                "-c", write(directory / "nginx.conf", text)]

    def haproxy(port):
        text = HAPROXY.format(port=port, body=BODY)
        return [shutil.which("haproxy", path=PATH), "-db",
                "-f", write(directory / "haproxy.cfg", text)]

    reply = reply_of(ours("epoll"))
    found = {"http-server, epoll": ours("epoll"), "http-server, io_uring": ours("io_uring"),
             FLOOR: lambda port: [servers.BIN / "c-fixed-reply", port, reply],
             "nginx": nginx, "HAProxy": haproxy}
    nio = servers.BIN / "nio-http"
    if nio.is_file():
        found["SwiftNIO"] = lambda port: [nio, port, "1"]
    else:
        print("http: no SwiftNIO: `make peers` builds it", file=sys.stderr)
    return found


def measure(command, load, seconds):
    """Returns the server's microseconds per request, and the requests per second."""
    connections, pipelined = load
    with started(command) as server:
        words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
        if pipelined:
            words += ["-s", str(servers.ROOT / "Benchmarks/pipeline.lua")]
        words = process.pinned([*words, f"http://{process.HOST}:{server.port}/plaintext"],
                               process.cores(1)[1])
        before = proc.processor_seconds(server.pid)
        done = subprocess.run(words, capture_output=True, text=True, timeout=seconds + 30)
        used = proc.processor_seconds(server.pid) - before
    found = re.search(r"(\d+) requests in ", done.stdout)
    if not found or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        # Control-C ends wrk, too.
        ending.check()
        raise Failure(f"{' '.join(words)}:\n{done.stdout}{done.stderr}")
    rate = float(re.search(r"Requests/sec:\s*([\d.]+)", done.stdout).group(1))
    return used / int(found.group(1)) * 1e6, rate


def table(samples):
    """Returns the lines for the samples by load and server."""
    rows = []
    for (load, name), found in samples.items():
        cost, rate = summary.best(found)
        ratios = ["", ""]
        if base := samples.get((load, "nginx")):
            least, most = summary.best(base)
            ratios = [f"{cost / least:.2f}", f"{rate / most:.2f}"]
        rows.append([load, name, f"{cost:.2f}", f"{rate:.0f}", *ratios])
    header = ["load", "server", "CPU us per request", "requests/s", "CPU / nginx", "rate / nginx"]
    return tables.markdown(header, rows)


def add_options(parser):
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement: whole ones")
    parser.add_argument("--only", metavar="LIST", help="servers whose name has one of these words")
    parser.add_argument("--loads", type=names(LOADS), default=list(LOADS), metavar="LIST",
                        help=f"only these of {', '.join(LOADS)}")


def run(options, refuse):
    if options.rounds < 1 or options.seconds < 1:
        refuse("--rounds and --seconds must be positive")
    for name in TOOLS:
        if not shutil.which(name, path=PATH):
            raise Failure(f"no {name}: `make peers` installs it")
    with tempfile.TemporaryDirectory() as directory:
        found = {name: command for name, command in commands(pathlib.Path(directory)).items()
                 if not options.only or any(word in name for word in options.only.split(","))}
        samples = {(load, name): [] for load in options.loads for name in found}
        with Progress(options.rounds * len(samples)) as progress:
            for number, load, name in turns.alternating(
                    options.rounds, options.loads, lambda _: found):
                cost, rate = measure(found[name], LOADS[load], options.seconds)
                samples[load, name].append((cost, rate))
                progress.step(f"round {number}, {load}, {name}: {cost:.2f} us")
    print("\n".join(table(samples)))
