"""The servers to measure, their commands, and the reason why one is absent."""

import dataclasses
import pathlib
import shlex

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = ROOT / ".build/bin"


@dataclasses.dataclass(frozen=True)
class Server:
    """{address} in a command is tcp://127.0.0.1:PORT or the like, {port} the port alone."""
    key: str
    label: str
    command: str
    transports: frozenset
    many_loops: bool = False
    # Takes part only in cells that name it.
    special: bool = False

    def program(self):
        return BIN / shlex.split(self.command)[0]

    def words(self, address, port, loops):
        text = self.command.format(address=address, port=port, loops=loops)
        return [str(BIN / text.split()[0])] + shlex.split(text)[1:]

    def serves(self, cell):
        if self.special or cell.only:
            return self.key in cell.only
        return cell.transport in self.transports and (cell.loops == 1 or self.many_loops)


def ours(backend):
    return f"echo-server --listen {{address}} --loops {{loops}} --backend {backend}"


ALL = frozenset({"tcp", "udp", "unix"})
STREAMS = frozenset({"tcp", "unix"})
TCP = frozenset({"tcp"})
UDP = frozenset({"udp"})
SERVERS = [
    Server("epoll", "Millrace, epoll", ours("epoll"), ALL, many_loops=True),
    Server("io_uring", "Millrace, io_uring", ours("io_uring"), ALL, many_loops=True),
    Server("c-epoll", "C, epoll", "c-epoll-echo {port}", STREAMS),
    Server("c-uring", "C, io_uring", "c-uring-echo {port}", STREAMS),
    Server("c-udp-epoll", "C, epoll + recvmmsg", "c-udp-echo {port} epoll", UDP),
    Server("c-udp-uring", "C, io_uring + recvmsg", "c-udp-echo {port} io_uring", UDP),
    # A lower bound, because it can wait for nothing but its one socket.
    Server("c-udp", "C, blocking recvmmsg", "c-udp-echo {port}", UDP),
    Server("nio", "SwiftNIO", "nio-echo {port} {loops}", TCP, many_loops=True),
    Server("libuv", "libuv", "libuv-echo {port}", TCP),
    Server("libevent", "libevent", "libevent-echo {port}", TCP),
    Server("go", "Go net", "go-net-echo {port} {loops}", TCP, many_loops=True),
    Server("gnet", "gnet", "gnet-echo {port} {loops}", TCP, many_loops=True),
    Server("timeout-epoll", "Millrace, epoll, idle time-out",
           "timeout-echo {address} epoll 60", TCP, special=True),
    Server("timeout-uring", "Millrace, io_uring, idle time-out",
           "timeout-echo {address} io_uring 60", TCP, special=True),
]


def notes():
    """Returns the line of `make peers` on each peer, by name."""
    path = BIN / "peers.txt"
    if not path.is_file():
        return {}
    return dict(line.split(": ", 1) for line in path.read_text().splitlines() if ": " in line)


def available(wanted=None):
    """Returns the servers that are built, and a line for each that is not."""
    found, absent = [], []
    said = notes()
    for server in SERVERS:
        if wanted and server.key not in wanted:
            continue
        name = server.program().name
        if server.program().is_file():
            found.append(server)
        else:
            reason = said.get(name, "not built; `make examples` and `make peers` build it")
            absent.append(f"{server.label}: {reason}")
    absent += [f"{name}: {reason}" for name, reason in said.items()
               if reason.startswith("absent") and not any(name in line for line in absent)
               and all(server.program().name != name for server in SERVERS)]
    return found, absent
