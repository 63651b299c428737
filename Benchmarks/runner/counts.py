"""Counts system calls and allocations of an echo request."""

import pathlib
import subprocess
import sys
import tempfile

from runner import cells, counting
from runner.client import CLIENT
from runner.failure import Failure

CONFIG = {"connections": 64, "size": 64, "requests": [10000, 20000]}
CELL = cells.Cell("echo", CONFIG["connections"], CONFIG["size"])


def count(found):
    """Returns by the server's key the figures, or the reason why there is none."""
    counted = {}
    with tempfile.TemporaryDirectory() as directory:
        client = [str(CLIENT), "--size", str(CONFIG["size"])]
        counter = counting.Counter(CONFIG, client, pathlib.Path(directory))
        for program in found:
            if not program.serves(CELL):
                continue
            print(f"counting: {program.label}", file=sys.stderr)
            row = counted[program.key] = {}
            for key, run in (("syscalls", counter.strace), ("allocations", counter.malloc_count)):
                try:
                    row[key] = counter.per_request(run, program.words())[key]
                except (Failure, OSError, subprocess.SubprocessError) as failure:
                    row[key] = f"not counted: {str(failure).splitlines()[0]}"
    return counted
