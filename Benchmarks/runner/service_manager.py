"""Plays the service manager: opens sockets for a server, passes them, and receives its messages."""

import fcntl
import pathlib
import socket
import tempfile

from runner import process
from runner.process import PATIENCE

# Moves the inherited descriptors to the numbers from 3 on. The process becomes the server, so its
# own number is the server's.
PASS = ('count=$1; shift; for ((i = 0; i < count; i++)); do eval "exec $((3 + i))<&$1 $1<&-"; '
        'shift; done; LISTEN_PID=$$ exec "$@"')
# Above each number that the descriptors are moved to.
LEAST = 100


def listener(address=(process.HOST, 0), family=socket.AF_INET, kind=socket.SOCK_STREAM):
    """Returns a socket with a number that PASS can move."""
    with socket.socket(family, kind) as plain:
        plain.bind(address)
        if kind == socket.SOCK_STREAM:
            plain.listen(4096)
        return socket.socket(fileno=fcntl.fcntl(plain.fileno(), fcntl.F_DUPFD_CLOEXEC, LEAST))


class Messages:
    """The socket at which the messages of one server arrive."""

    def __init__(self, is_abstract=False):
        self.folder = tempfile.TemporaryDirectory()
        path = str(pathlib.Path(self.folder.name) / "notify")
        self.name = "@" + path[1:] if is_abstract else path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + path[1:] if is_abstract else path)

    def next(self, seconds=PATIENCE):
        """Returns the lines of the next message. Raises TimeoutError after this time."""
        self.socket.settimeout(seconds)
        return self.socket.recv(4096).decode().split("\n")

    def close(self):
        self.socket.close()
        self.folder.cleanup()


def server(words, sockets, names=None, messages=None, environment=None, **more):
    """Returns a server that gets the sockets. It is started with a Messages if that is given."""
    variables = dict(environment or {})
    numbers = [one.fileno() for one in sockets]
    if sockets:
        variables["LISTEN_FDS"] = str(len(sockets))
        variables["LISTEN_FDNAMES"] = ":".join(names or ["unknown"] * len(sockets))
    if messages:
        variables["NOTIFY_SOCKET"] = messages.name
    return process.Server(
        ["bash", "-c", PASS, "bash", len(sockets), *numbers, *words], environment=variables,
        inherits=tuple(numbers), **more)
