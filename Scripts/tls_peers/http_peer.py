"""curl and wrk against http-server, and Redis's own clients against kv-server."""

import re
import subprocess

from runner.process import HOST
from tls_peers.checks import SECONDS, Absent, check, expect, expect_in, run, run_well
from tls_peers.places import BIG

CURL = ("curl", "curl")


def curl(place, *more):
    return run_well("curl", "-sS", "-m", SECONDS, "--cacert", place.authority, *more)


@check("curl", "two requests share a connection, and --tls-max 1.2 is served", CURL)
def keep_alive(place):
    for more in ([], ["--tls-max", "1.2"], ["--http1.0", "--tls-max", "1.2"]):
        found = curl(place, *more, "-o", "/dev/null", "-w", "%{http_code} %{num_connects}\n",
                     place.url("/plaintext"), "-o", "/dev/null", place.url("/json"))
        wanted = ["200 1", "200 1" if "--http1.0" in more else "200 0"]
        expect(found.split("\n")[:2] == wanted, found)


@check("curl", "a body of 900 kB comes back whole", CURL)
def echo(place):
    body = place.folder / "body"
    data = bytes(range(250)) * 3600
    body.write_bytes(data)
    back = place.folder / "back"
    curl(place, "--data-binary", f"@{body}", "-o", back, place.url("/echo"))
    expect(back.read_bytes() == data, "other bytes")


@check("curl", "a client's certificate that no server asks for changes nothing", CURL)
def client_certificate(place):
    files = place.certificates
    found = curl(place, "--cert", files.chain("client"), "--key", files.key("client"),
                 "-w", "%{http_code}", place.url("/json"))
    expect(found.endswith("200"), found)


@check("curl", "SIGHUP during a download: it goes on, the next has the new certificate", CURL)
def reload(place):
    server = place.start("http-server", "rsa", "--root", place.root)
    subject = ["-o", "/dev/null", "-w", "%{certs}", place.url("/json", server)]
    words = ["curl", "-sS", "--cacert", place.authority, place.url("/big", server)]
    with subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE) as living:
        # The pipe holds the client up, and so the server, until the rest is read.
        first = living.stdout.read(1)
        before = peer(place, server)
        place.replace(server, "second")
        after = peer(place, server)
        expect(living.poll() is None, "the download was over before the reload")
        data = first + living.stdout.read()
        expect(living.wait(SECONDS) == 0, "the download failed")
    expect_in("rsa.test", before)
    expect_in("second.test", after)
    expect(data == (place.root / "big").read_bytes(), f"{len(data)} of {BIG} bytes")
    curl(place, *subject[:2], subject[-1])
    (server.folder / "key.pem").write_text("no key")
    server.process.send_signal(1)
    expect_in("second.test", peer(place, server))
    server.stop()


def peer(place, server):
    """Returns the subject of the certificate that a new connection gets."""
    _, text = run("openssl", "s_client", "-connect", f"{HOST}:{server.port}")
    return next(line for line in text.splitlines() if line.startswith("subject="))


@check("curl", "a download of 16 MiB is whole, with both versions", CURL)
def download(place):
    big = (place.root / "big").read_bytes()
    for more in ([], ["--tls-max", "1.2"]):
        file = place.folder / "download"
        curl(place, *more, "-o", file, place.url("/big"))
        expect(file.read_bytes() == big, "other bytes")
        file.unlink()


@check("wrk", "https for 2 s without an error", ("wrk", "wrk"))
def wrk(place):
    text = run_well("wrk", "-t", 1, "-c", 16, "-d", 2, place.url("/plaintext"))
    expect("Socket errors" not in text and "Non-2xx" not in text, text)
    count = re.search(r"(\d+) requests in", text)
    expect(count and int(count.group(1)) > 0, text)


def require_redis_tls(program):
    if "--tls" not in run(program, "--help")[1]:
        raise Absent(f"this {program} has no TLS: apt-get install redis-tools")


@check("redis", "redis-cli --tls sets, gets and pipes", ("redis-cli", "redis-tools"))
def redis_cli(place):
    require_redis_tls("redis-cli")
    words = ["redis-cli", "--tls", "--cacert", place.authority, "-h", HOST, "-p", place.kv.port]
    expect(run_well(*words, "SET", "a", "b c") == "OK\n", "SET")
    expect(run_well(*words, "GET", "a") == "b c\n", "GET")
    lines = b"".join(b"SET key%d value\r\n" % index for index in range(5000))
    expect_in("errors: 0, replies: 5000", run_well(*words, "--pipe", input=lines))


@check("redis", "redis-benchmark --tls without an error", ("redis-benchmark", "redis-tools"))
def redis_benchmark(place):
    require_redis_tls("redis-benchmark")
    text = run_well("redis-benchmark", "--tls", "--cacert", place.authority, "-h", HOST, "-p",
                    place.kv.port, "-n", 2000, "-c", 20, "-P", 4, "--csv", "-t",
                    "ping,set,get,lpush,lrange_100,mset")
    expect(text.count('"') >= 40 and "err" not in text.lower(), text)
