"""A signal ends a run even when it arrives while Python drops exceptions."""

import pathlib
import subprocess
import sys
import unittest

BENCHMARKS = pathlib.Path(__file__).resolve().parent.parent
DYING = f"""
import os, signal, sys
sys.path.insert(0, {str(BENCHMARKS)!r})
from runner import ending

class Dying:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            pass

ending.catch()
Dying()
print("it goes on")
try:
    ending.check()
except ending.Ended as ended:
    print(ended.args[0].name)
os.kill(os.getpid(), signal.SIGTERM)
print("cleaned up")
"""


class EndingTests(unittest.TestCase):
    def test_a_signal_inside_a_destructor_is_noticed_at_the_next_check(self):
        done = subprocess.run([sys.executable, "-c", DYING], capture_output=True, text=True,
                              timeout=60)
        self.assertEqual(done.stdout.split("\n"), ["it goes on", "SIGTERM", "cleaned up", ""])
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
