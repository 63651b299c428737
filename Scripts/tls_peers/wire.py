"""A TLS client whose bytes the test can cut, frame anew and change before they are sent."""

import socket
import ssl

from runner.process import HOST
from tls_peers.checks import SECONDS, Failed

HANDSHAKE = 22


def framed(data, size):
    """Returns the same stream with each unsealed handshake message in records of `size` bytes."""
    made = b""
    while data:
        kind, count = data[0], int.from_bytes(data[3:5], "big")
        body, head = data[5:5 + count], data[:3]
        if kind != HANDSHAKE:
            made += data[:5 + count]
        else:
            for at in range(0, count, size):
                part = body[at:at + size]
                made += head + len(part).to_bytes(2, "big") + part
        data = data[5 + count:]
    return made


class Wire:
    """One connection. `piece` is the size of each send, `record` that of a handshake's records."""

    def __init__(self, port, context, piece=None, record=None):
        self.port, self.piece, self.record = port, piece, record
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=HOST)
        self.is_ended = False
        self.is_open = True

    def __enter__(self):
        self.socket = socket.create_connection((HOST, self.port), SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    def __exit__(self, *_):
        self.socket.close()

    def hello(self):
        """Returns the first bytes of a handshake."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    def flush(self, change=False):
        data = self.outgoing.read()
        # A sealed message has the handshake's type only with TLS 1.2, and there it is the last.
        if self.record and not self.is_sealed(data):
            data = framed(data, self.record)
        if change:
            data = data[:-1] + bytes([data[-1] ^ 1])
        step = self.piece or len(data) or 1
        for at in range(0, len(data), step):
            self.socket.sendall(data[at:at + step])

    @staticmethod
    def is_sealed(data):
        return b"\x14\x03\x03\x00\x01\x01" in data or data[:1] == b"\x17"

    def fill(self):
        """Reads from the socket. Returns false at the end of the connection."""
        self.flush()
        data = self.socket.recv(1 << 16)
        self.incoming.write(data) if data else self.incoming.write_eof()
        return bool(data)

    def step(self, action):
        """Runs an action of the TLS object, with the bytes that it needs."""
        while True:
            try:
                return action()
            except ssl.SSLWantReadError:
                self.fill()
            except ssl.SSLEOFError as error:
                raise Failed("the connection ended without close_notify") from error

    def handshake(self):
        self.step(self.tls.do_handshake)
        self.flush()

    def write(self, data, flush=True, change=False):
        sent = 0
        while sent < len(data):
            sent += self.tls.write(data[sent:])
        if flush:
            self.flush(change)

    def end(self):
        """Sends close_notify; reading goes on."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        self.flush()

    def read(self, count):
        """Returns this many bytes, or fewer at the end."""
        found = b""
        while len(found) < count and (data := self.some(count - len(found))):
            found += data
        return found

    def read_all(self):
        parts = []
        while data := self.some(1 << 16):
            parts.append(data)
        return b"".join(parts)

    def some(self, most):
        def action():
            try:
                data = self.tls.read(most)
            except ssl.SSLZeroReturnError:
                data = b""
            if not data:
                self.is_ended = True
            return data
        return self.step(action)
