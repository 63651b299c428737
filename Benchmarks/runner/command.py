"""The command line of Benchmarks/bench: its subcommands, their end and their exit status."""

import argparse
import sys

from runner import compare, ending, fairness, hold, http, kv, run, tls
from runner.failure import Failure

# Each module has add_options(parser) and run(options, refuse), which returns an exit status.
COMMANDS = {
    "run": (run, "servers under the loads of a preset: the default", {}),
    "open": (run, "run, with latencies at 70 % of what the slowest server can do",
             {"preset": "open", "rounds": 3, "seconds": 2}),
    "compare": (compare, "two commands, or both backends beside C, by processor time", {}),
    "http": (http, "http-server beside nginx, HAProxy and SwiftNIO", {}),
    "kv": (kv, "kv-server beside redis-server", {}),
    "tls": (tls, "echo-server and http-server over TLS beside C, nginx and SwiftNIO", {}),
    "hold": (hold, "the memory of very many idle connections", {}),
    "fairness": (fairness, "waits of clients beside a peer that uses more than its share", {}),
}


def parsers():
    """Returns the parser, and those of the subcommands by name."""
    parser = argparse.ArgumentParser(prog="bench", description="Measures servers.")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    found = {}
    for name, (module, line, defaults) in COMMANDS.items():
        found[name] = commands.add_parser(
            name, help=line.replace("%", "%%"), description=module.__doc__.split("\n")[0])
        module.add_options(found[name])
        found[name].set_defaults(command=name, **defaults)
    return parser, found


def main(arguments=None):
    words = sys.argv[1:] if arguments is None else arguments
    # Options alone are those of `run`.
    if not words or words[0].startswith("-") and words[0] not in ("-h", "--help"):
        words = ["run", *words]
    parser, subparsers = parsers()
    options, more = parser.parse_known_args(words)
    if "command" not in options:
        parser.error("which command?")
    refuse = subparsers[options.command].error
    if more:
        refuse(f"unrecognized arguments: {' '.join(more)}")
    ending.catch()
    try:
        module, _, _ = COMMANDS[options.command]
        status = module.run(options, refuse)
    except ending.Ended as ended:
        status = 128 + ended.args[0]
    except (Failure, OSError) as failure:
        status = f"{options.command}: {failure}"
    sys.exit(status)
