"""The public modules: where they are built, and the symbol graphs that the compiler extracts."""

import json
import os
import pathlib
import re
import shlex
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
SWIFT = shlex.split(os.environ.get("SWIFT", "swift"))
# Each module with its folder and the folder of its build. Two are empty without their traits, which
# the package of the examples has on.
MODULES = {
    "NetAPI": ("NetAPI", ".build"),
    "NetTLS": ("TLS", ".build"),
    "NetAPITesting": ("Testing", ".build"),
    "NetServices": ("Services", ".build/examples"),
    "NetMetrics": ("Metrics", ".build/examples"),
}
PACKAGES = {".build": ".", ".build/examples": "Examples"}
# The same as in the Makefile, so that a build for one of them is one for the other.
DECLARED = ["--explicit-target-dependency-import-check", "error"]
# Without the members that a type gets from protocols of the standard library.
OPTIONS = ["-minimum-access-level", "public", "-skip-synthesized-members"]


class Failure(Exception):
    """A message with a remedy; no fault of the scripts."""


def run(words):
    """Runs a command of the toolchain, and returns its output."""
    try:
        done = subprocess.run([str(word) for word in words], cwd=ROOT, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except FileNotFoundError:
        raise Failure(f"no {words[0]} in PATH: it comes with the Swift toolchain") from None
    if done.returncode != 0:
        raise Failure(f"{shlex.join(str(word) for word in words)} failed:\n{done.stdout}")
    return done.stdout


def build(module):
    """Builds a module if it is not up to date."""
    scratch = MODULES[module][1]
    run([*SWIFT, "build", *DECLARED, "--package-path", PACKAGES[scratch], "--scratch-path",
         scratch, "--target", module])


def extract(module, debug, target, output, options=()):
    """Writes the symbol graphs of a built module into a folder, and returns their files."""
    if not (debug / "Modules" / f"{module}.swiftmodule").exists():
        raise Failure(f"{module} is not built in {debug}: run Scripts/api without --built")
    words = [*SWIFT, "symbolgraph-extract", "-module-name", module, "-I", debug / "Modules",
             "-target", target, "-output-dir", output, *OPTIONS, *options]
    for modulemap in sorted(debug.glob("*.build/module.modulemap")):
        words += ["-Xcc", f"-fmodule-map-file={modulemap}"]
    output.mkdir(parents=True, exist_ok=True)
    run(words)
    # One file for the module, and one for each other module whose types it extends.
    return sorted(output.glob(f"{module}*.symbols.json"))


def extract_built(module, output, options=()):
    """Extracts like `extract`, from the debug build of this package or of the examples."""
    debug = (ROOT / MODULES[module][1] / "debug").resolve()
    return extract(module, debug, debug.parent.name, output, options)


def load(files):
    return [json.loads(file.read_text()) for file in files]


def compiler(graphs):
    """Returns the compiler's version by its first two numbers, such as "6.3"."""
    text = graphs[0]["metadata"]["generator"]
    match = re.search(r"Swift version (\d+\.\d+)", text)
    return match.group(1) if match else text
