"""gnutls-cli against the servers."""

import base64
import os

from runner.process import HOST
from tls_peers.checks import Talk, check, expect, expect_in, run

PROGRAM = ("gnutls-cli", "gnutls-bin")
VERSIONS = {"1.2": "NORMAL:-VERS-ALL:+VERS-TLS1.2", "1.3": "NORMAL:-VERS-ALL:+VERS-TLS1.3"}


def words(place, server, priority, *more):
    return ["gnutls-cli", "--x509cafile", place.authority, "--verify-hostname", "one.test",
            "--priority", priority, "-p", server.port, *more, HOST]


def echo(place, version):
    # gnutls-cli seals each line by itself.
    lines = b"".join(base64.b64encode(os.urandom(1 << 11)) + b"\n" for _ in range(100))
    with Talk(*words(place, place.echo, VERSIONS[version], "--logfile", "/dev/null")) as talk:
        found = talk.exchange(lines, len(lines))
        expect(found.endswith(lines), f"{len(found)} bytes, not those of {len(lines)}")
        expect(talk.end() == 0, talk.text[-600:])


@check("gnutls", "TLS 1.2: verified, and the echo is whole", PROGRAM)
def echo_12(place):
    echo(place, "1.2")


@check("gnutls", "TLS 1.3: verified, and the echo is whole", PROGRAM)
def echo_13(place):
    echo(place, "1.3")


@check("gnutls", "a wrong name and a stranger's authority are refused", PROGRAM)
def refuses(place):
    priority = VERSIONS["1.3"]
    for authority, name, reason in (
            (place.authority, "other.test", "does not match"),
            (place.certificates.stranger, "one.test", "issuer is unknown")):
        status, text = run("gnutls-cli", "--x509cafile", authority, "--verify-hostname", name,
                           "--priority", priority, "-p", place.echo.port, HOST)
        expect(status != 0, "no failure")
        expect_in(reason, text)
    place.expect_alive(place.echo)


def resume(place, version):
    more = ["-r"] + (["--waitresumption"] if version == "1.3" else [])
    with Talk(*words(place, place.http, VERSIONS[version], *more)) as talk:
        talk.wait_for(b"Resume Handshake was completed")
        talk.end()
        expect_in("This is a resumed session", talk.text)


@check("gnutls", "TLS 1.2: a session is resumed", PROGRAM)
def resume_12(place):
    resume(place, "1.2")


@check("gnutls", "TLS 1.3: a session is resumed", PROGRAM)
def resume_13(place):
    resume(place, "1.3")


@check("gnutls", "TLS 1.2: a rehandshake is refused, and others are served", PROGRAM)
def rehandshake(place):
    with Talk(*words(place, place.echo, VERSIONS["1.2"], "-e")) as talk:
        talk.end()
        expect("ReHandshake was completed" not in talk.text, "a second handshake was completed")
        expect_in("rehandshake", talk.text.lower())
    place.expect_alive(place.echo)


@check("gnutls", "each curve of TLS 1.3, one by one", PROGRAM)
def groups(place):
    for group in ("SECP256R1", "SECP384R1", "SECP521R1", "X25519", "X448"):
        priority = f"{VERSIONS['1.3']}:-GROUP-ALL:+GROUP-{group}"
        with Talk(*words(place, place.echo, priority)) as talk:
            talk.wait_for(b"Simple Client Mode")
            talk.exchange(b"a line\n", 7)
            talk.wait_for(b"a line\n")
            expect(talk.end() == 0, talk.text[-600:])
