"""Early end of a run by SIGINT or SIGTERM, with a cleanup that later signals do not interrupt."""

import contextlib
import signal

NUMBERS = (signal.SIGINT, signal.SIGTERM)
_received = None
_deferred = False


class Ended(Exception):
    """The run was ended by a signal, the only argument."""


def _end(number, _):
    global _received
    ignore()
    _received = signal.Signals(number)
    if not _deferred:
        raise Ended(_received)


def catch():
    """From now on the first signal raises Ended, and later ones are ignored."""
    for number in NUMBERS:
        signal.signal(number, _end)


def ignore():
    for number in NUMBERS:
        signal.signal(number, signal.SIG_IGN)


def check():
    """Raises Ended after a signal. Call it between two measurements: Python drops an exception that
    a handler raises while a destructor runs, such as that of a Popen object."""
    if _received is not None:
        raise Ended(_received)


@contextlib.contextmanager
def deferred():
    """Delays Ended to the end of the block, in which a process starts or ends."""
    global _deferred
    before, _deferred = _received, True
    try:
        yield
    finally:
        _deferred = False
    if before is None:
        check()
