"""Actions of a tlslite-ng client. Usage: tlslite_client.py PORT "VERSION ACTION" ..."""

import os
import socket
import sys

from tlslite.api import HandshakeSettings, TLSConnection
from tlslite.constants import (
    AlertDescription, AlertLevel, CertificateType, KeyUpdateMessageType)
from tlslite.errors import TLSAbruptCloseError, TLSRemoteAlert
from tlslite.extensions import PaddingExtension
from tlslite.handshakehelpers import HandshakeHelpers
from tlslite.messages import Alert, ApplicationData, Certificate, Finished, ServerHello

HOST = "127.0.0.1"
VERSIONS = {"1.2": (3, 3), "1.3": (3, 4)}
SECONDS = max(20, int(os.environ.get("MILLRACE_TEST_PATIENCE", 0)))


def connected(port, version):
    settings = HandshakeSettings()
    settings.minVersion = settings.maxVersion = VERSIONS[version]
    connection = TLSConnection(socket.create_connection((HOST, port), SECONDS))
    connection.handshakeClientCert(settings=settings, serverName="one.test")
    return connection


def echo(connection, data):
    """Expects the same bytes back. Few are under way, so that neither side waits for the other."""
    step = 1 << 14
    for at in range(0, len(data), step):
        piece = data[at:at + step]
        connection.write(piece)
        back = connection.read(min=len(piece), max=len(piece))
        assert bytes(back) == piece, f"{len(back)} bytes at {at}"


def pad(size):
    """Makes each hello of this process longer."""
    def add(hello):
        hello.extensions.append(PaddingExtension().create(size))

    HandshakeHelpers.alignClientHelloPadding = staticmethod(add)


def expect_end(connection, act):
    """Expects an alert as the answer to what `act` sends. All of that goes out in one piece: a
    later one would meet a reset, which drops the alert."""
    connection.sock.buffer_writes = True
    act()
    connection.sock.flush()
    connection.sock.buffer_writes = False
    try:
        while connection.read(max=1 << 14):
            pass
    except TLSRemoteAlert:
        return
    except TLSAbruptCloseError:
        raise SystemExit("the server ended the connection without an alert") from None
    raise SystemExit("the server ended the stream in order, without an alert")


def update(connection, count, kind=KeyUpdateMessageType.update_not_requested):
    for _ in range(count):
        for _ in connection.send_keyupdate_request(kind):
            pass


def send(connection, message, count=1):
    for _ in range(count):
        for _ in connection._sendMsg(message, False):
            pass


def unexpected(action, version):
    """A message of the handshake, behind its end."""
    number = VERSIONS[version]
    if action == "server-hello":
        return ServerHello().create((3, 3), bytearray(32), bytearray(), 0x1301)
    if action == "certificate":
        return Certificate(CertificateType.x509, number).create([], b"")
    return Finished(number, 32).create(bytearray(32))


def updates(connection):
    for _ in range(5):
        update(connection, 30)
        echo(connection, b"behind updates")
    update(connection, 30, KeyUpdateMessageType.update_requested)
    echo(connection, b"behind updates of both")


def run(action, version, port):
    usual = HandshakeHelpers.alignClientHelloPadding
    if action == "padding":
        pad(20_000)
    connection = connected(port, version)
    HandshakeHelpers.alignClientHelloPadding = staticmethod(usual)
    asking = KeyUpdateMessageType.update_requested
    nothing = ApplicationData().create(b"")
    warning = Alert().create(AlertDescription.user_canceled, AlertLevel.warning)
    ends = {
        "flood": lambda: update(connection, 40),
        "flood-asking": lambda: update(connection, 40, asking),
        "empty": lambda: send(connection, nothing, 100),
        "warnings": lambda: send(connection, warning, 100),
    }
    if action in ("echo", "padding"):
        echo(connection, os.urandom(1 << 16))
        connection.close()
    elif action == "updates":
        updates(connection)
        connection.close()
    else:
        if action == "empty":
            send(connection, nothing, 20)
            echo(connection, b"behind nothing")
        expect_end(connection, ends.get(action, lambda: send(
            connection, unexpected(action, version))))


for words in sys.argv[2:]:
    chosen, name = words.split()
    try:
        run(name, chosen, int(sys.argv[1]))
    except Exception as error:
        raise SystemExit(f"TLS {chosen}, {name}: {error!r}") from error
    except SystemExit as error:
        raise SystemExit(f"TLS {chosen}, {name}: {error}") from None
