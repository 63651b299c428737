"""The servers to measure, their commands, and the reason why one is absent."""

import dataclasses
import os
import pathlib
import shlex
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = ROOT / ".build/bin"


def address_for(transport):
    """Returns the arguments of a server: the whole address, and the value for {port}. The kernel
    selects the port, and the server's first line names it."""
    if transport == "unix":
        name = f"unix://@millrace-bench-{os.getpid()}-{time.monotonic_ns()}"
        return name, name
    return f"{transport}://127.0.0.1:0", 0


@dataclasses.dataclass(frozen=True)
class Program:
    """A server to measure, a row of the reports. {address} in its command is tcp://127.0.0.1:PORT
    or the like, {port} the port alone."""
    key: str
    label: str
    command: str
    transports: frozenset
    many_loops: bool = False
    # Takes part only in cells that name it.
    special: bool = False

    def program(self):
        return BIN / shlex.split(self.command)[0]

    def words(self, transport="tcp", loops=1):
        address, port = address_for(transport)
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
    Program("epoll", "Millrace, epoll", ours("epoll"), ALL, many_loops=True),
    Program("io_uring", "Millrace, io_uring", ours("io_uring"), ALL, many_loops=True),
    Program("c-epoll", "C, epoll", "c-epoll-echo {port}", STREAMS),
    Program("c-uring", "C, io_uring", "c-uring-echo {port}", STREAMS),
    Program("c-udp-epoll", "C, epoll + recvmmsg", "c-udp-echo {port} epoll", UDP),
    Program("c-udp-uring", "C, io_uring + recvmsg", "c-udp-echo {port} io_uring", UDP),
    # A lower bound, because it can wait for nothing but its one socket.
    Program("c-udp", "C, blocking recvmmsg", "c-udp-echo {port}", UDP),
    Program("nio", "SwiftNIO", "nio-echo {port} {loops}", TCP, many_loops=True),
    Program("libuv", "libuv", "libuv-echo {port}", TCP),
    Program("libevent", "libevent", "libevent-echo {port}", TCP),
    Program("go", "Go net", "go-net-echo {port} {loops}", TCP, many_loops=True),
    Program("gnet", "gnet", "gnet-echo {port} {loops}", TCP, many_loops=True),
    Program("tasks-epoll", "Millrace with tasks, epoll",
            "task-echo --listen {address} --loops {loops} --backend epoll", TCP, special=True),
    Program("tasks-uring", "Millrace with tasks, io_uring",
            "task-echo --listen {address} --loops {loops} --backend io_uring", TCP, special=True),
    Program("nio-async", "SwiftNIO with tasks", "nio-async-echo {port} {loops}", TCP, special=True),
    Program("timeout-epoll", "Millrace, epoll, idle time-out",
           "timeout-echo {address} epoll 60", TCP, special=True),
    Program("timeout-uring", "Millrace, io_uring, idle time-out",
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
