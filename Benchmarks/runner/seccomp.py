"""Runs a program under the filter of a container's seccomp profile, without a container.

    python3 seccomp.py PROFILE [--without CALL]... [--errno NUMBER] -- PROGRAM [ARGUMENT]...

Knows the form of such a profile that Examples/deploy/seccomp-io_uring.json uses. The calls after
--without fail, with the number of the profile or of --errno."""

import argparse
import ctypes
import json
import os
import platform
import re
import struct
import sys

ARCHITECTURES = {"x86_64": ("x86_64-linux-gnu/asm/unistd_64.h", 0xC000003E),
                 "aarch64": ("asm-generic/unistd.h", 0xC00000B7)}
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
LOAD, EQUAL, AND, RETURN = 0x20, 0x15, 0x54, 0x06
# Places in struct seccomp_data. The arguments have 64 bits, of which these profiles use the lower.
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, FILTER = 22, 38, 2


def numbers():
    """Returns the number of each system call by name."""
    header = ARCHITECTURES[platform.machine()][0]
    with open(f"/usr/include/{header}") as file:
        found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", file.read())
    return {name: int(number) for name, number in found}


def step(code, value, if_true=0, if_false=0):
    return struct.pack("=HBBI", code, if_true, if_false, value)


def verdict(action, errno):
    return ALLOW if action == "SCMP_ACT_ALLOW" else ERRNO | errno


def rule(number, entry, errno):
    """Returns the steps for one call: its verdict if the arguments match, else the next step."""
    tail = [step(RETURN, verdict(entry["action"], entry.get("errnoRet", errno)))]
    for test in entry.get("args", []):
        head = [step(LOAD, ARGUMENTS + 8 * test["index"])]
        wanted = test["value"]
        if test["op"] == "SCMP_CMP_MASKED_EQ":
            head.append(step(AND, test["value"]))
            wanted = test["valueTwo"]
        elif test["op"] != "SCMP_CMP_EQ":
            raise ValueError(test["op"])
        tail = [*head, step(EQUAL, wanted, 0, len(tail)), *tail]
    # A failed test leaves an argument in the register.
    return [step(LOAD, NUMBER), step(EQUAL, number, 0, len(tail)), *tail]


def program(profile, without=(), errno=None):
    """Returns the filter as bytes for the kernel."""
    known = numbers()
    errno = profile["defaultErrnoRet"] if errno is None else errno
    steps = [step(LOAD, ARCHITECTURE),
             step(EQUAL, ARCHITECTURES[platform.machine()][1], 1, 0), step(RETURN, KILL)]
    for entry in profile["syscalls"]:
        for name in entry["names"]:
            # Architectures lack some of the older calls.
            if name in known and name not in without:
                steps += rule(known[name], entry, errno)
    steps.append(step(RETURN, verdict(profile["defaultAction"], errno)))
    return b"".join(steps)


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def install(code):
    """Filters this process and its children from here on."""
    libc = ctypes.CDLL(None, use_errno=True)
    memory = ctypes.create_string_buffer(code, len(code))
    argument = Program(len(code) // 8, ctypes.addressof(memory))
    for words in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
                  (PR_SET_SECCOMP, FILTER, ctypes.byref(argument), 0, 0)):
        if libc.prctl(*words) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("profile")
    parser.add_argument("--without", action="append", default=[])
    parser.add_argument("--errno", type=int)
    parser.add_argument("words", nargs="+")
    options = parser.parse_args()
    with open(options.profile) as file:
        profile = json.load(file)
    install(program(profile, options.without, options.errno))
    os.execvp(options.words[0], options.words)


if __name__ == "__main__":
    sys.exit(main())
