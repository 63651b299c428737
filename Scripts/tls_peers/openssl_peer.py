"""openssl s_client against the servers."""

import os
import re

from runner.process import HOST
from tls_peers.checks import Talk, check, expect, expect_in, run

VERSIONS = {"1.2": "-tls1_2", "1.3": "-tls1_3"}
OPENSSL = ("openssl", "openssl")


def words(place, server, *more):
    return ["openssl", "s_client", "-connect", f"{HOST}:{server.port}", "-CAfile",
            place.authority, "-verify_return_error", "-verify_ip", HOST, *more]


def echo(place, version):
    data = os.urandom(1 << 20)
    with Talk(*words(place, place.echo, VERSIONS[version], "-quiet", "-verify_quiet")) as talk:
        found = talk.exchange(data, len(data))
        expect(found[-len(data):] == data, f"{len(found)} bytes came, and not those that were sent")


@check("openssl", "TLS 1.2: the echo of 1 MiB is whole", OPENSSL)
def echo_12(place):
    echo(place, "1.2")


@check("openssl", "TLS 1.3: the echo of 1 MiB is whole", OPENSSL)
def echo_13(place):
    echo(place, "1.3")


@check("openssl", "TLS 1.0 and 1.1 get the alert protocol_version", OPENSSL)
def old_versions(place):
    for version in ("-tls1", "-tls1_1"):
        status, text = run(*words(place, place.echo, version, "-cipher", "ALL:@SECLEVEL=0"))
        expect(status != 0, "no failure")
        # An openssl without the version fails before it sends a hello.
        if "no protocols available" not in text:
            expect_in("alert protocol version", text)


@check("openssl", "the application protocol: http/1.1, and none for h2 alone", OPENSSL)
def application_protocol(place):
    _, text = run(*words(place, place.http, "-alpn", "h2,http/1.1"))
    expect_in("ALPN protocol: http/1.1", text)
    _, text = run(*words(place, place.http, "-alpn", "h2"))
    expect_in("No ALPN negotiated", text)


@check("openssl", "the chain has the leaf and its authority, and the RSA one works too", OPENSSL)
def chain(place):
    for server, kind in ((place.echo, "ECDSA"), (place.http, "RSA")):
        _, text = run(*words(place, server, "-showcerts"))
        expect(text.count("BEGIN CERTIFICATE") >= 2, f"no chain: {text[-600:]}")
        expect_in("Verify return code: 0 (ok)", text)
        expect(re.search(f"Peer signature type: {kind}", text), f"not signed by {kind}: {text}")


@check("openssl", "TLS 1.2: a renegotiation is refused, and others are served", OPENSSL)
def renegotiation(place):
    with Talk(*words(place, place.echo, "-tls1_2", "-quiet", "-no_ign_eof")) as talk:
        talk.send(b"one\n")
        at = talk.wait_for(b"one\n")
        talk.send(b"R\n")
        talk.wait_for(b"RENEGOTIATING", at)
        # This client ends when it gets the warning no_renegotiation.
        talk.end()
        expect_in("no renegotiation", talk.text)
    place.expect_alive(place.echo)


def update(place, letter):
    with Talk(*words(place, place.echo, "-tls1_3", "-quiet", "-no_ign_eof")) as talk:
        for round in range(20):
            at = len(talk.output)
            talk.send(letter + b"\n")
            at = talk.wait_for(b"KEYUPDATE", at)
            line = b"behind update %d\n" % round
            talk.send(line)
            talk.wait_for(line, at)
        expect(talk.end() == 0, talk.text)


@check("openssl", "TLS 1.3: the echo goes on behind 20 updates of the client's keys (k)", OPENSSL)
def update_own(place):
    update(place, b"k")


@check("openssl", "TLS 1.3: the echo goes on behind 20 updates of both keys (K)", OPENSSL)
def update_both(place):
    update(place, b"K")


def resume(place, version):
    file = place.folder / f"session-{version}"
    for state in ("New", "Reused", "Reused"):
        session = ["-sess_out", file] + (["-sess_in", file] if state == "Reused" else [])
        more = [VERSIONS[version], "-no_ign_eof", *session]
        with Talk(*words(place, place.echo, *more)) as talk:
            talk.send(b"a line\n")
            talk.wait_for(b"\na line\n")
            talk.end()
            expect_in(f"{state}, TLSv{version}", talk.text)


@check("openssl", "TLS 1.2: a session is resumed, twice", OPENSSL)
def resume_12(place):
    resume(place, "1.2")


@check("openssl", "TLS 1.3: a session is resumed, twice", OPENSSL)
def resume_13(place):
    resume(place, "1.3")


@check("openssl", "the end of the client's stream ends both, in order", OPENSSL)
def ends(place):
    for version in VERSIONS.values():
        more = [version, "-quiet", "-no_ign_eof", "-msg"]
        with Talk(*words(place, place.echo, *more)) as talk:
            talk.send(b"last\n")
            talk.wait_for(b"last\n")
            expect(talk.end() == 0, talk.text)
            expect(re.search(r">>> .*Alert .*close_notify", talk.text), talk.text[-600:])


@check("openssl", "groups, suites and signatures of TLS 1.3, one by one", OPENSSL)
def suites(place):
    for more in (["-groups", "X25519"], ["-groups", "P-384"], ["-groups", "X448:P-521"],
                 ["-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
                 ["-ciphersuites", "TLS_AES_128_GCM_SHA256"]):
        _, text = run(*words(place, place.echo, "-tls1_3", *more))
        expect_in("Verify return code: 0 (ok)", text)
        expect_in(more[1] if more[0] == "-ciphersuites" else "Server Temp Key", text)


@check("openssl", "TLS 1.2: weak suites are refused with handshake_failure", OPENSSL)
def weak_suites(place):
    for suite in ("NULL", "aNULL", "AES128-CCM8", "DES-CBC3-SHA", "PSK"):
        status, text = run(
            *words(place, place.http, "-tls1_2", "-cipher", f"{suite}:@SECLEVEL=0"))
        expect(status != 0, f"{suite} is accepted: {text[-600:]}")
        if "no cipher match" not in text and "no ciphers available" not in text:
            expect_in("alert handshake failure", text)


@check("openssl", "groups of finite fields, of up to 160 ms a handshake, are refused", OPENSSL)
def finite_fields(place):
    for group in ("ffdhe2048", "ffdhe8192"):
        status, text = run(*words(place, place.echo, "-tls1_3", "-groups", group))
        expect(status != 0, f"{group} is accepted")
        expect_in("alert handshake failure", text)


@check("openssl", "a client's limit of 512 bytes for each record is kept", OPENSSL)
def record_limit(place):
    data = os.urandom(3000) + b"\n"
    for version in VERSIONS.values():
        more = [version, "-maxfraglen", "512", "-quiet", "-verify_quiet", "-msgfile",
                place.folder / "messages", "-msg"]
        with Talk(*words(place, place.echo, *more)) as talk:
            talk.wait_for(data, 0) if talk.exchange(data, len(data)) else None
        lengths = re.findall(r"<<< .*RecordHeader .*\n\s+17 03 03 (\w\w) (\w\w)",
                             (place.folder / "messages").read_text())
        expect(lengths, "no records")
        longest = max(int(high + low, 16) for high, low in lengths[-6:])
        # Of a record's bytes, up to 40 are not the stream's.
        expect(longest <= 512 + 40, f"a record of {longest} bytes")
