"""The commands and files in our Markdown pages, so that what they say can be done is done.

A page names ports as a person would write them. Tests run beside other programs, so each of these numbers is
replaced by one of a port that is free, in the page and in every file beside it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from .agents import environment
from .site import local_ports

_FENCE: Final = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)

# Whatever happens, what the page started in the background ends with it.
_HEAD: Final = "set -euo pipefail\nshopt -s expand_aliases\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"


def blocks(page: str, language: str) -> list[str]:
    """The text of every fenced block in that language."""
    return [found["text"] for found in _FENCE.finditer(page) if found["language"] == language]


def free_replacements(*ports: int) -> Mapping[str, str]:
    """For each port that a page names, one that is free."""
    return dict(zip(map(str, ports), map(str, local_ports(len(ports))), strict=True))


def replace_ports(text: str, replacements: Mapping[str, str]) -> str:
    return re.sub(r"\b(\d{4})\b", lambda found: replacements.get(found[1], found[1]), text)


def run_commands(commands: list[str], *, directory: Path) -> str:
    """Type all commands into one shell, and give back what they printed; any that fails is an error."""
    script = _HEAD + "".join(commands)
    with subprocess.Popen(
        ["bash", "-c", script],
        cwd=directory,
        env=environment(PATH=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            printed, _ = shell.communicate(timeout=50)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    logs = "".join(f"\n{log}:\n{log.read_text()}" for log in directory.rglob("*.log"))
    assert shell.returncode == 0, f"exit status {shell.returncode}\n{printed}{logs}"
    return printed
