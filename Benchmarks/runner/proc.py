"""Readings from /proc: the machine's processor time and memory, and those of a process."""

import os
import pathlib

from runner.failure import Failure


def busy_seconds():
    """Returns in seconds the busy time of all cores and the time that the host withheld (steal)."""
    fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _, _, irq, softirq, steal = (int(field) for field in fields)
    ticks = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / ticks, steal / ticks


def bytes_of(path, name):
    for line in pathlib.Path(path).read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise Failure(f"no {name} in {path}")


def kernel_bytes():
    """Returns the size of the kernel's unreclaimable slabs: sockets, files, epoll's entries."""
    return bytes_of("/proc/meminfo", "SUnreclaim")


def resident_bytes(pid):
    return bytes_of(f"/proc/{pid}/smaps_rollup", "Rss")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def processor_seconds(pid):
    """Returns the processor time of every thread, user and system."""
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def ticks(pid):
    """Returns the processor time, user and system, in the kernel's ticks."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def is_traced(pid):
    """Returns whether a tracer is attached to every thread."""
    tasks = pathlib.Path(f"/proc/{pid}/task").glob("*/status")
    return all("TracerPid:\t0\n" not in task.read_text() for task in tasks)
