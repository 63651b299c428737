"""The progress of a run, on standard error."""

import sys
import time


class Progress:
    """One line that is rewritten on a terminal; elsewhere a new line, at most every few seconds."""

    def __init__(self, total, every=2):
        self.total, self.every, self.done = total, every, 0
        self.started = self.shown = time.monotonic()
        self.terminal = sys.stderr.isatty()

    def __enter__(self):
        return self

    def step(self, text):
        self.done += 1
        now = time.monotonic()
        if not self.terminal and now - self.shown < self.every and self.done < self.total:
            return
        self.shown = now
        left = (now - self.started) / self.done * (self.total - self.done)
        line = f"{self.done}/{self.total} {text}, {left:.0f} s left"
        print(f"\r{line}\033[K" if self.terminal else line, end="" if self.terminal else "\n",
              file=sys.stderr, flush=True)

    def __exit__(self, *_):
        if self.terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
