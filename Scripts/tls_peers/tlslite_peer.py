"""tlslite-ng against echo-server: messages that no other client sends. It is slow, and none of them
depends on the number of loops."""

import os
import pathlib
import subprocess
import sys
import threading

from tls_peers.checks import SECONDS, Absent, check, expect, run

CLIENT = pathlib.Path(__file__).with_name("tlslite_client.py")
lock = threading.Lock()
libraries = {}


def library(place):
    """Installs tlslite-ng into the run's folder, once, and returns that folder."""
    folder = place.certificates.folder / "tlslite"
    with lock:
        if folder not in libraries:
            try:
                status, _ = run(sys.executable, "-m", "pip", "install", "--quiet",
                                "--disable-pip-version-check", "--root-user-action", "ignore",
                                "--target", folder, "tlslite-ng", seconds=60)
            except subprocess.TimeoutExpired:
                status = 1
            libraries[folder] = status == 0
    if not libraries[folder]:
        raise Absent("no tlslite-ng: pip cannot install it")
    return folder


def run_client(place, *actions):
    """Runs actions like "1.3 echo", each with a connection of its own."""
    folder = library(place)
    status, text = run(sys.executable, CLIENT, place.echo.port, *actions,
                       env={**os.environ, "PYTHONPATH": str(folder)}, seconds=2 * SECONDS)
    expect(status == 0, text[-600:])
    place.expect_alive(place.echo)


@check("tlslite", "TLS 1.2 and 1.3: the echo of 64 KiB is whole", once=True)
def echo(place):
    run_client(place, "1.2 echo", "1.3 echo")


@check("tlslite", "a hello of more than 16 KiB, by its padding, is read", once=True)
def padding(place):
    run_client(place, "1.2 padding", "1.3 padding")


@check("tlslite", "TLS 1.3: 32 updates of the keys are read, more without bytes get an alert",
       once=True)
def updates(place):
    run_client(place, "1.3 updates", "1.3 flood", "1.3 flood-asking")


@check("tlslite", "records without bytes: a few are read, a flood gets an alert", once=True)
def empty_records(place):
    run_client(place, "1.2 empty", "1.3 empty")


@check("tlslite", "a flood of warnings gets an alert", once=True)
def warnings(place):
    run_client(place, "1.2 warnings", "1.3 warnings")


@check("tlslite", "messages that no client may send in that state get an alert", once=True)
def wrong_messages(place):
    run_client(place, *(f"{version} {name}" for version in ("1.2", "1.3")
                        for name in ("server-hello", "certificate", "finished")))


@check("tlslite", "a chain of 100 certificates from a client", once=True)
def client_chain(place):
    raise Absent("no example asks for a client's certificate")
