"""The list of checks, and the result of each: passed, failed, or absent with a reason."""

import contextlib
import os
import select
import shutil
import subprocess
import time

from runner.failure import Failure

SECONDS = max(20, int(os.environ.get("MILLRACE_TEST_PATIENCE", 0)))
CHECKS = []


class Failed(Failure):
    """A peer saw something else than it must see."""


class Absent(Exception):
    """The check cannot run here; the text is the reason."""


class Check:
    """`once` limits it to one place for each backend, `is_long` to runs with --long."""

    def __init__(self, peer, text, body, needs, is_long, once):
        self.peer, self.text, self.body, self.needs = peer, text, body, needs
        self.is_long, self.once = is_long, once

    def run(self, place):
        """Returns "ok", "FAIL", "absent" or "-", and the reason of the second and third."""
        if self.once and place.loops != 1:
            return "-", ""
        try:
            for program, package in self.needs:
                require(program, package)
            self.body(place)
        except Absent as reason:
            return "absent", str(reason)
        except (Failure, AssertionError, OSError, ValueError, subprocess.TimeoutExpired) as error:
            return "FAIL", f"{type(error).__name__}: {error}"
        return "ok", ""


def check(peer, text, *needs, is_long=False, once=False):
    """Adds a function to the list. It is called with the place, on a thread of its own. `needs`
    are pairs of a program and its package."""

    def add(body):
        CHECKS.append(Check(peer, text, body, needs, is_long, once))
        return body

    return add


def require(program, package):
    if not shutil.which(program):
        raise Absent(f"no {program}: apt-get install {package}")


def expect(condition, message):
    if not condition:
        raise Failed(message)


def expect_in(wanted, text):
    expect(wanted in text, f"no {wanted!r} in {text[-600:]!r}")


def run(*words, input=b"", seconds=SECONDS, **more):
    """Returns the status and all output of a program that ends by itself."""
    done = subprocess.run([str(word) for word in words], input=input, timeout=seconds,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **more)
    return done.returncode, done.stdout.decode(errors="replace")


def run_well(*words, **more):
    status, text = run(*words, **more)
    expect(status == 0, f"{words[0]} ended with {status}: {text[-600:]!r}")
    return text


class Talk:
    """A program with a conversation: lines to it, and waits for its output."""

    def __init__(self, *words):
        self.name, self.output = str(words[0]), b""
        self.process = subprocess.Popen([str(word) for word in words], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                file.close()

    @property
    def text(self):
        return self.output.decode(errors="replace")

    def send(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def wait_for(self, wanted, behind=0):
        """Waits until `wanted` is in the output behind this offset. Returns its end."""
        while (at := self.output.find(wanted, behind)) < 0:
            expect(self.step(), f"{self.name} ended without {wanted!r}: {self.text[-600:]!r}")
        return at + len(wanted)

    def step(self, seconds=None):
        """Reads some output. Returns false at its end."""
        ready, _, _ = select.select([self.process.stdout], [], [], seconds or SECONDS)
        expect(ready, f"{self.name} is silent: {self.text[-600:]!r}")
        data = os.read(self.process.stdout.fileno(), 1 << 16)
        self.output += data
        return bool(data)

    def exchange(self, data, count):
        """Sends all bytes while it reads, until `count` bytes came. Returns those."""
        pending, before = memoryview(data), len(self.output)
        writer, reader = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(writer, False)
        end = time.monotonic() + SECONDS
        while len(self.output) - before < count:
            expect(time.monotonic() < end, f"{len(self.output) - before} of {count} bytes came")
            readable, writable, _ = select.select(
                [reader], [writer] if pending else [], [], SECONDS)
            if writable:
                pending = pending[os.write(writer, pending[:1 << 15]):]
            if readable and not self.step():
                break
        os.set_blocking(writer, True)
        return self.output[before:]

    def end(self):
        """Ends the program's input and returns its status."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        while self.step():
            pass
        return self.process.wait(SECONDS)
