"""Which files are mounted one by one.

Rule: what the kernel lists counts. A container is often given its state file alone,
as a mount of a file of the host. Who edits that file on the host changes a directory
that is not ours to see, so nothing is told to whoever watches the directory in which
the mount is: such a file has to be watched itself.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

_TABLE: Final = Path("/proc/self/mountinfo")  # proc_pid_mountinfo(5)
_MOUNT_POINT: Final = 4
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def mounted_files(directories: AbstractSet[Path], *, table: Path = _TABLE) -> set[Path]:
    """The files in these directories that are mounts of their own; none where there is no such table."""
    try:
        lines = table.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return set()
    points = (Path(_OCTAL.sub(_unescape, line.split(" ")[_MOUNT_POINT])) for line in lines)
    return {point for point in points if point.parent in directories and point.is_file()}


def _unescape(found: re.Match[str]) -> str:
    return chr(int(found[1], 8))
