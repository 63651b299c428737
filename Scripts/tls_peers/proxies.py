"""nginx and HAProxy as TLS clients of http-server, and nginx behind the example proxy."""

import contextlib
import subprocess
import tempfile

from runner.process import HOST, Server, accepts, free_port, text_of, wait_until
from tls_peers.checks import SECONDS, check, expect, run_well

NGINX = ("nginx", "nginx-light")
HAPROXY = ("haproxy", "haproxy")
CURL = ("curl", "curl")
REQUESTS = 500

NGINX_FILE = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    {more}
}}
"""
NGINX_FRONT = """
    upstream one {{ server {upstream}; {keeps} }}
    server {{
        listen {address};
        location / {{
            proxy_pass https://one;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host one.test;
            proxy_ssl_verify on;
            proxy_ssl_name one.test;
            proxy_ssl_server_name on;
            proxy_ssl_protocols {version};
            proxy_ssl_trusted_certificate {authority};
        }}
    }}
"""
NGINX_BACK = """
    server {{
        listen {address} ssl;
        ssl_certificate {chain};
        ssl_certificate_key {key};
        root {root};
        location /plaintext {{ return 200 "Hello"; }}
    }}
"""
HAPROXY_FILE = """
global
    maxconn 256
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 20s
    option log-health-checks
    http-reuse {reuse}
frontend front
    bind {address}
    default_backend one
backend one
    server one {upstream} ssl {more}
"""


@contextlib.contextmanager
def started(words):
    """Runs a proxy in the foreground until its port accepts, then to the end of the block. Gives
    the block a function that returns the proxy's output."""
    port = words.pop()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([str(word) for word in words], stdout=output,
                                   stderr=subprocess.STDOUT)
        try:
            wait_until(lambda: process.poll() is not None or accepts(port), SECONDS,
                       f"{words[0]} does not listen")
            expect(process.poll() is None, f"{words[0]} ended: {text_of(output)[-600:]}")
            yield lambda: text_of(output)
            expect(process.poll() is None, f"{words[0]} has ended: {text_of(output)[-600:]}")
        finally:
            process.terminate()
            process.wait(SECONDS)


def nginx(place, port, more):
    folder = place.folder / f"nginx-{port}"
    folder.mkdir()
    file = folder / "nginx.conf"
    file.write_text(NGINX_FILE.format(folder=folder, more=more))
    return ["nginx", "-c", file, "-p", folder, "-e", "stderr", port]


def haproxy(place, port, reuse, more):
    file = place.folder / f"haproxy-{port}.cfg"
    file.write_text(HAPROXY_FILE.format(
        address=f"{HOST}:{port}", upstream=f"{HOST}:{place.http.port}", more=more, reuse=reuse))
    return ["haproxy", "-db", "-f", file, port]


def expect_answers(url, *more):
    """Makes the requests on one connection to the proxy, and expects 200 for each."""
    text = run_well("curl", "-sS", "-m", SECONDS, *more, "-w", "\n%{http_code}\n", "-o",
                    "/dev/null", f"{url}/plaintext?[1-{REQUESTS}]")
    codes = text.split()
    expect(codes == ["200"] * REQUESTS, f"{len(codes)} answers: {sorted(set(codes))}")


@check("nginx", "500 requests by proxy_pass https, connections kept", NGINX, CURL)
def nginx_keeps(place):
    behind_nginx(place, "keepalive 4;", "TLSv1.3")


@check("nginx", "500 requests by proxy_pass https, a connection for each", NGINX, CURL)
def nginx_each(place):
    behind_nginx(place, "", "TLSv1.2 TLSv1.3")


def behind_nginx(place, keeps, version):
    port = free_port()
    more = NGINX_FRONT.format(upstream=f"{HOST}:{place.http.port}", keeps=keeps, version=version,
                              address=f"{HOST}:{port}", authority=place.authority)
    with started(nginx(place, port, more)):
        expect_answers(f"http://{HOST}:{port}")
        found = run_well("curl", "-sS", "-m", SECONDS, "-o", place.folder / f"big-{port}",
                         "-w", "%{size_download}", f"http://{HOST}:{port}/big")
        big = (place.folder / f"big-{port}").read_bytes()
        expect(big == (place.root / "big").read_bytes(), f"{found} bytes")


@check("nginx", "500 requests through the example proxy to nginx's TLS", NGINX, CURL, once=True)
def behind_proxy(place):
    port, middle = free_port(), free_port()
    files = place.certificates
    more = NGINX_BACK.format(address=f"{HOST}:{port}", chain=files.chain("rsa"),
                             key=files.key("rsa"), root=place.root)
    words = [place.programs / "proxy", f"tcp://{HOST}:{middle}", f"tcp://{HOST}:{port}"]
    with started(nginx(place, port, more)):
        with Server(words, port=middle, patience=SECONDS):
            expect_answers(f"https://{HOST}:{middle}", "--cacert", place.authority)


@check("haproxy", "500 requests with ssl verify none, a connection for each", HAPROXY, CURL)
def haproxy_none(place):
    port = free_port()
    with started(haproxy(place, port, "never", "verify none")):
        expect_answers(f"http://{HOST}:{port}")


@check("haproxy", "500 requests with verify required and check-ssl, kept", HAPROXY, CURL)
def haproxy_checks(place):
    port = free_port()
    # HAProxy's time-out of a check is the pause between two.
    more = (f"verify required ca-file {place.authority} verifyhost one.test sni str(one.test) "
            f"check port {place.http.port} check-ssl check-sni one.test inter 5s fastinter 5s "
            "fall 1")
    with started(haproxy(place, port, "always", more)) as text:
        for _ in range(2):
            expect_answers(f"http://{HOST}:{port}")
        wait_until(lambda: "Layer6 check passed" in text(), SECONDS, "no check of the server")
        expect("failed" not in text(), text()[-600:])
    place.expect_alive(place.http)
