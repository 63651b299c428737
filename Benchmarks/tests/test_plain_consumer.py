"""Tests the packages and libraries of a program that imports NetAPI alone."""

import json
import os
import pathlib
import shlex
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = ROOT / ".build/bin"
PATIENCE = 300
OPENSSL = {"libssl", "libcrypto"}


def packages(package):
    """Returns the names of a resolved package and of all packages below it."""
    return {package["identity"]}.union(*map(packages, package["dependencies"]))


def libraries(program):
    """Returns the shared libraries that a program names, without their versions."""
    lines = subprocess.run(["readelf", "-d", BIN / program], capture_output=True, text=True,
                           check=True, timeout=PATIENCE).stdout.splitlines()
    return {line.split("[")[1].split(".so")[0] for line in lines if "(NEEDED)" in line}


class PlainConsumerTests(unittest.TestCase):
    def test_without_traits_swift_log_is_the_only_package(self):
        swift = shlex.split(os.environ.get("SWIFT", "swift"))
        done = subprocess.run(
            [*swift, "package", "--package-path", ROOT / "Tests/plain-consumer", "--scratch-path",
             ROOT / ".build/plain-consumer", "show-dependencies", "--format", "json"],
            capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout)
        self.assertEqual([one["name"] for one in found["dependencies"]], ["millrace"])
        self.assertEqual(packages(found["dependencies"][0]) - {ROOT.name.lower()}, {"swift-log"})
        checkouts = {one.name for one in (ROOT / ".build/plain-consumer/checkouts").iterdir()}
        self.assertEqual(checkouts, {"swift-log"})

    def test_a_program_without_tls_needs_no_openssl(self):
        for program in ("task-echo", "blocking-echo", "proxy"):
            found = libraries(program)
            self.assertIn("libc", found)
            self.assertEqual(found & OPENSSL, set(), program)

    def test_a_program_with_tls_needs_openssl(self):
        for program in ("echo-server", "http-server", "chat"):
            self.assertEqual(libraries(program) & OPENSSL, OPENSSL, program)


if __name__ == "__main__":
    unittest.main()
