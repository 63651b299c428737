"""The loads to measure: a cell is one load on several servers."""

import dataclasses
import itertools

MIB = 1024 * 1024
CONNECTIONS = (1, 8, 64, 512, 4096)
SIZES = (64, 1024, 16 * 1024, 64 * 1024)
PIPELINES = (1, 16)
# More bytes in flight would measure the kernel's memory, if they fit at all.
MOST_IN_FLIGHT = 512 * MIB


@dataclasses.dataclass(frozen=True)
class Cell:
    group: str
    connections: int
    size: int
    pipeline: int = 1
    transport: str = "tcp"
    loops: int = 1
    idle: int = 0
    churn: bool = False
    # Requests per second of a schedule; 0 for a closed loop.
    rate: int = 0
    # The rate as a share of the slowest server's in a closed loop, which is measured first.
    share: float = 0
    # The servers of this cell, where the transport alone does not decide.
    only: tuple = ()
    # The first of these that takes part is the baseline.
    baselines: tuple = ("c-epoll", "epoll")

    @property
    def name(self):
        parts = [f"{self.connections} x {self.size} B"]
        parts += [f"pipelined by {self.pipeline}"] if self.pipeline > 1 else []
        parts += [f"{self.idle} idle"] if self.idle else []
        parts += [f"{self.rate}/s"] if self.rate else []
        parts += [f"{self.share:.0%} of the slowest"] if self.share else []
        parts += [f"{self.loops} loops"] if self.loops > 1 else []
        return ", ".join(parts)

    @property
    def warmup(self):
        return 500 if self.churn else max(2000, 2 * self.connections * self.pipeline)


def echo(connections, sizes, pipelines):
    return [Cell("echo", *shape) for shape in itertools.product(connections, sizes, pipelines)
            if shape[0] * shape[1] * shape[2] <= MOST_IN_FLIGHT]


def churn(connections):
    return [Cell("churn", count, 64, churn=True) for count in connections]


def idle(counts):
    return [Cell("idle", 8, 64, idle=count) for count in counts]


def udp(shapes):
    """The baseline waits in epoll, because an event loop waits for more than one socket too."""
    baselines = ("c-udp-epoll", "c-udp")
    return [Cell("udp", *shape, transport="udp", baselines=baselines) for shape in shapes]


def unix(shapes):
    return [Cell("unix", *shape, transport="unix") for shape in shapes]


def loops(shapes):
    """Cells with two loops, whose servers all run on the same cores."""
    return [Cell("loops", *shape, loops=2, baselines=("epoll",)) for shape in shapes]


def timers(connections):
    only = ("epoll", "io_uring", "timeout-epoll", "timeout-uring")
    return [Cell("timers", count, 64, only=only, baselines=("epoll",)) for count in connections]


def tasks(connections):
    """A task for each connection beside callbacks."""
    only = ("epoll", "io_uring", "tasks-epoll", "tasks-uring", "nio", "nio-async")
    return [Cell("tasks", count, 64, only=only, baselines=("nio-async", "epoll"))
            for count in connections]


def schedule(rates):
    return [Cell("schedule", 64, 64, rate=rate) for rate in rates]


def of_the_slowest(shares):
    return [Cell("open", 64, 64, share=share) for share in shares]


# The most connections that fit into a process's usual descriptor limit.
MANY = echo((10000,), (64,), (1,))
QUICK = (echo((1, 64, 512), (64,), (1,)) + echo((64,), (16 * 1024,), (1,))
         + echo((64,), (64,), (16,)) + churn((8,)) + idle((1000,)) + schedule((20000,))
         + udp(((8, 64),)) + unix(((64, 64),)) + loops(((64, 64),)) + timers((512,)))
FULL = (echo(CONNECTIONS, SIZES, PIPELINES) + MANY + churn((1, 8, 64)) + idle((1000, 10000))
        + schedule((20000, 50000)) + of_the_slowest((0.7,))
        + udp(((1, 64), (8, 64), (64, 64), (8, 1024), (8, 64, 16), (8, 16 * 1024)))
        + unix(((1, 64), (64, 64), (64, 16 * 1024), (64, 64, 16)))
        + loops(((64, 64), (512, 64), (64, 16 * 1024))) + timers((64, 512, 4096))
        + tasks((8, 64, 512)))
# Enough for the plots and for a record, on a machine that is available for a short time.
RECORD = (echo(CONNECTIONS, (64,), (1,)) + MANY + echo((64,), (1024, 16 * 1024, 64 * 1024), (1,))
          + echo((64,), (64,), (16,)) + churn((8,)) + idle((1000, 10000)) + schedule((20000,))
          + of_the_slowest((0.7,)) + udp(((8, 64), (8, 64, 16))) + unix(((64, 64), (64, 16 * 1024)))
          + loops(((64, 64),)) + timers((512,)) + tasks((64,)))
OPEN = of_the_slowest((0.7,))
PRESETS = {"quick": QUICK, "record": RECORD, "full": FULL, "open": OPEN}
GROUPS = tuple(dict.fromkeys(cell.group for cell in FULL))
