"""Python's ssl module against the servers, with a socket and with its bytes in the test's hands."""

import os
import pathlib
import select
import socket
import ssl
import struct

from runner.process import HOST
from tls_peers.checks import SECONDS, check, expect
from tls_peers.wire import Wire

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
BOTH = tuple(VERSIONS)


def context(place, version=None, authority=None):
    made = ssl.create_default_context(cafile=authority or place.authority)
    if version:
        made.minimum_version = made.maximum_version = VERSIONS[version]
    return made


def connect(place, server, version=None, name=HOST, **more):
    raw = socket.create_connection((HOST, server.port), SECONDS)
    try:
        return context(place, version, **more).wrap_socket(raw, server_hostname=name)
    except BaseException:
        raw.close()
        raise


def receive(stream, count):
    parts = []
    while count > 0 and (data := stream.recv(min(count, 1 << 16))):
        parts.append(data)
        count -= len(data)
    return b"".join(parts)


def echo(place, version):
    data = os.urandom(10 << 20)
    with connect(place, place.echo, version) as stream:
        expect(exchange(stream, data) == data, "other bytes came back")


def exchange(stream, data):
    """Writes all while it reads as many bytes. On one thread: Python before 3.13 runs a read and a
    write of one TLS object at once, and OpenSSL allows that for no object."""
    stream.setblocking(False)
    pending, found = memoryview(data), bytearray()
    while len(found) < len(data):
        is_stuck = True
        try:
            while pending:
                pending = pending[stream.send(pending[:1 << 16]):]
                is_stuck = False
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        try:
            while len(found) < len(data) and (some := stream.recv(1 << 16)):
                found += some
                is_stuck = False
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        if is_stuck:
            ready = select.select([stream], [stream] if pending else [], [], SECONDS)
            expect(any(ready), f"{len(found)} bytes came, and {len(pending)} are not sent")
    stream.settimeout(SECONDS)
    return found


@check("python", "TLS 1.2: the echo of 10 MiB is whole")
def echo_12(place):
    echo(place, "1.2")


@check("python", "TLS 1.3: the echo of 10 MiB is whole")
def echo_13(place):
    echo(place, "1.3")


@check("python", "a wrong name and a stranger's authority are refused")
def refuses(place):
    for name, authority in (("other.test", None), ("a.b.wild.test", None), ("127.0.0.2", None),
                            (HOST, place.certificates.stranger)):
        try:
            connect(place, place.echo, name=name, authority=authority).close()
        except ssl.SSLCertVerificationError:
            continue
        expect(False, f"{name} is accepted")
    for name in ("localhost", "one.test", "a.wild.test", HOST):
        connect(place, place.echo, name=name).close()


@check("python", "an end without close_notify, and a reset, cost one connection only")
def unclean_end(place):
    for version in BOTH:
        for reset in (False, True):
            stream = connect(place, place.echo, version)
            stream.sendall(b"x" * 1000)
            expect(receive(stream, 1000) == b"x" * 1000, "no echo")
            if reset:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                # The record's end is missing, too.
                os.write(stream.fileno(), b"\x17\x03\x03\x01\x00cut")
                # The method of an SSLSocket would leave TLS first.
                socket.socket.shutdown(stream, socket.SHUT_WR)
                try:
                    expect(receive(stream, 1) == b"", "bytes behind the end")
                except OSError:
                    pass
            stream.close()
    place.expect_alive(place.echo)


@check("python", "the client's close_notify is answered, behind the echo of 1 MiB")
def half_close(place):
    for version in BOTH:
        data = os.urandom(1 << 20)
        with Wire(place.echo.port, context(place, version)) as wire:
            wire.handshake()
            wire.write(data)
            wire.end()
            found = wire.read_all()
            expect(wire.is_ended, "no close_notify of the server")
            expect(found == data, f"TLS {version}: {len(found)} of {len(data)} bytes came")


@check("python", "a client that writes each byte apart is served")
def byte_by_byte(place):
    for version in BOTH:
        with Wire(place.echo.port, context(place, version), piece=1) as wire:
            wire.handshake()
            wire.write(b"apart")
            expect(wire.read(5) == b"apart", "no echo")
            wire.end()
            expect(wire.read_all() == b"" and wire.is_ended, "no close_notify of the server")


@check("python", "a hello in records of one byte each is read")
def small_records(place):
    for version in BOTH:
        with Wire(place.echo.port, context(place, version), record=1) as wire:
            wire.handshake()
            wire.write(b"small")
            expect(wire.read(5) == b"small", "no echo")


@check("python", "10,000 records of one byte are answered whole")
def records_of_one_byte(place):
    with Wire(place.echo.port, context(place, "1.3")) as wire:
        wire.handshake()
        for index in range(10_000):
            wire.write(bytes([index & 255]), flush=index % 100 == 99)
        expect(wire.read(10_000) == bytes(i & 255 for i in range(10_000)), "wrong bytes")


@check("python", "what is no TLS gets an alert or an end, and others are served")
def other_protocols(place):
    hello = Wire(place.echo.port, context(place)).hello()
    for data in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x80\x2e\x01\x00\x02" + b"\0" * 60,
                 b"\x16\x03\x01\xff\xff" + b"\0" * 70_000, b"\x16\x03\x01\x00\x00" * 100,
                 b"\x15\x03\x01\x00\x02\x01\x00" * 100, b"\x17\x03\x03\x00\x10" + b"\0" * 16,
                 hello[:5] + b"\x02" + hello[6:], hello + hello, hello[:-1]):
        with socket.create_connection((HOST, place.echo.port), SECONDS) as raw:
            raw.sendall(data)
            raw.shutdown(socket.SHUT_WR)
            try:
                while raw.recv(1 << 16):
                    pass
            except ConnectionResetError:
                pass
    place.expect_alive(place.echo)


@check("python", "bytes that were changed on the way get the alert bad_record_mac")
def changed_bytes(place):
    for version in BOTH:
        with Wire(place.echo.port, context(place, version)) as wire:
            wire.handshake()
            wire.write(b"changed", change=True)
            try:
                wire.read(1)
                expect(False, "the bytes were accepted")
            except ssl.SSLError as error:
                expect("BAD_RECORD_MAC" in str(error.reason), str(error))
    place.expect_alive(place.echo)


@check("python", "a hello without end gets an alert, and is not read for ever")
def long_hello(place):
    record, most = b"\x16\x03\x01\x40\x00" + bytes(1 << 14), 256 << 20
    with socket.create_connection((HOST, place.echo.port), SECONDS) as raw:
        raw.sendall(b"\x16\x03\x01\x00\x04\x01\xff\xff\xff")
        sent = 0
        try:
            while sent < most:
                raw.sendall(record)
                sent += len(record)
        except OSError:
            pass
        expect(sent < most, "all of it was read")
        expect(raw.recv(1) == b"\x15", "no alert")
    place.expect_alive(place.echo)


@check("python", "a client that reads no answer keeps a bounded amount of memory")
def reads_nothing(place):
    with connect(place, place.echo) as stream:
        before = resident(place.echo)
        stream.settimeout(0.5)
        piece, sent = b"x" * (1 << 16), 0
        try:
            while sent < 512 << 20:
                sent += stream.send(piece)
        except (TimeoutError, ssl.SSLWantWriteError):
            pass
        expect(sent < 512 << 20, "all of it was read")
        grown = resident(place.echo) - before
        expect(grown < 32 << 20, f"{grown >> 10} KiB for one client")


def resident(server):
    pages = pathlib.Path(f"/proc/{server.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")


@check("python", "a client that stops within its hello holds up no other")
def silent(place):
    hello = Wire(place.http.port, context(place)).hello()
    with socket.create_connection((HOST, place.http.port), SECONDS) as raw:
        raw.sendall(hello[:-1])
        place.expect_alive(place.http)
        raw.sendall(hello[-1:])
        expect(raw.recv(1) == b"\x16", "no hello of the server")
