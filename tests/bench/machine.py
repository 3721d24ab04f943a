"""The machine and the programs that a result was measured with.

Rule: everything that a reader would ask about before comparing two results, and nothing that names anybody.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.support.real_software import find

_VERSION_OPTION: Final = {
    "wrk": "-v",
    "nginx": "-v",
    "haproxy": "-v",
    "bore": "--version",
    "chisel": "--version",
    "frpc": "--version",
    "frps": "--version",
    "iperf3": "--version",
    "rathole": "--version",
}
_LIBRARIES: Final = ("tidegate", "uvloop", "aiofastnet", "anyio", "cryptography")
_VERSION: Final = re.compile(r"\d+\.\d+[\w.+~-]*")


def describe() -> dict[str, object]:
    """Cores, kernel, memory, Python and the libraries that carry bytes."""
    return {
        "cores": os.cpu_count(),
        "cpu": _field("/proc/cpuinfo", "model name"),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "congestion_control": _text("/proc/sys/net/ipv4/tcp_congestion_control"),
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }


def versions(programs: Iterable[str]) -> dict[str, str]:
    """What each installed program says its version is."""
    found = {}
    for program in programs:
        path = find(program)
        if path is not None:
            # Whatever the exit status is: wrk ends with 1 after it has told its version.
            said = subprocess.run(
                [path, _VERSION_OPTION[program]], capture_output=True, text=True, timeout=10, check=False
            )
            found[program] = first_version(said.stdout + said.stderr)
    return found


def first_version(text: str) -> str:
    """The first thing in a program's words that looks like a version."""
    found = _VERSION.search(text)
    return found[0] if found else "unknown"


def _field(file: str, name: str) -> str | None:
    for line in _text(file).splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _text(file: str) -> str:
    path = Path(file)
    return path.read_text(errors="replace").strip() if path.exists() else ""
