"""Counts system calls and allocations of a request, with the code of Scripts/guards."""

import importlib.machinery
import importlib.util
import pathlib
import subprocess
import sys
import tempfile

from runner import cells, servers
from runner.client import CLIENT

CONFIG = {"connections": 64, "size": 64, "requests": [10000, 20000]}
CELL = cells.Cell("echo", CONFIG["connections"], CONFIG["size"])


def guards():
    path = str(servers.ROOT / "Scripts/guards")
    loader = importlib.machinery.SourceFileLoader("guards", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("guards", loader))
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


def count(found):
    """Returns by the server's key the figures, or the reason why there is none."""
    script = guards()
    counted = {}
    with tempfile.TemporaryDirectory() as directory:
        client = [str(CLIENT), "--size", str(CONFIG["size"])]
        bench = script.Bench(CONFIG, client, pathlib.Path(directory))
        for server in found:
            if not server.serves(CELL):
                continue
            print(f"counting: {server.label}", file=sys.stderr)
            row = counted[server.key] = {}
            for run in (bench.strace, bench.malloc_count):
                words = server.words()
                key = "syscalls" if run == bench.strace else "allocations"
                try:
                    row[key] = bench.per_request(run, words)[key]
                except (script.Failure, script.Unavailable, OSError,
                        subprocess.SubprocessError) as failure:
                    row[key] = f"not counted: {str(failure).splitlines()[0]}"
    return counted
