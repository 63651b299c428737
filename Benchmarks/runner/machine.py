"""Facts on the machine and the versions of software, for the record."""

import os
import pathlib
import platform
import re
import shutil
import subprocess

from runner import servers


def output(*words):
    """Returns the first line of output, or "" if the command is absent or fails."""
    if shutil.which(words[0]) is None:
        return ""
    done = subprocess.run(words, capture_output=True, text=True)
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if done.returncode == 0 and lines else ""


def processor():
    match = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return match.group(1) if match else platform.processor()


def memory_bytes():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def setting(path):
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:
        return ""


def facts():
    git = ["git", "-C", str(servers.ROOT)]
    versions = {"Swift": output("swift", "--version"),
                "clang": output("clang", "--version").partition(" (")[0],
                "cc, for peers": output("cc", "--version")}
    for name, said in servers.notes().items():
        if not said.startswith("absent"):
            versions[name] = said
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory_bytes(),
        "virtual": setting("/sys/class/dmi/id/product_name") or output("systemd-detect-virt"),
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "commit": output(*git, "rev-parse", "--short", "HEAD"),
        "changed": output(*git, "status", "--porcelain", "--untracked-files=no") != "",
        "versions": {name: text for name, text in versions.items() if text},
        "load_average": os.getloadavg()[0],
        "mitigations": setting("/sys/devices/system/cpu/vulnerabilities/spectre_v2"),
    }
