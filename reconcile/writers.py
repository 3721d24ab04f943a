"""Whether somebody may still be writing files.

Rule: this file asks the kernel, and says that nobody writes only if that is sure.
Linux gives nobody a read lease on a file that anybody has open for writing (fcntl(2),
F_SETLEASE), so whoever is given one knows; it is handed back at once. Asking needs to
be the owner of the file, or CAP_LEASE. Some network file systems give leases to nobody;
there it looks as if somebody always wrote.

Where we may not ask, the times of the file can still tell. Every write sets both of
them; renaming a file into its place, or setting its mode or times, as tools do when
the content is complete, moves only the second.
"""

from __future__ import annotations

import os
import signal
import sys
from enum import Enum
from pathlib import Path

if sys.platform == "linux":
    import fcntl


class Writers(Enum):
    """Who has a file open for writing."""

    NOBODY = "nobody"
    SOMEBODY = "somebody"
    UNKNOWN = "unknown"


def writers_of(path: Path) -> Writers:
    """Who is writing the file at that path, a moment ago. Blocks on the disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return Writers.UNKNOWN  # it has gone again, or may not be read
    try:
        found = _ask(descriptor)
        if found is Writers.UNKNOWN:
            status = os.fstat(descriptor)
            if status.st_ctime_ns > status.st_mtime_ns:
                return Writers.NOBODY
        return found
    finally:
        os.close(descriptor)


def is_git_at_work(path: Path) -> bool:
    """Whether Git is changing files around that path.

    Each file that it replaces is complete, and they belong together: it keeps its index
    locked until all of a commit are in their places. Of submodules and linked work trees,
    whose index is elsewhere, nothing is known.
    """
    return any(os.access(above / ".git" / "index.lock", os.F_OK) for above in path.absolute().parents)


def _ask(descriptor: int) -> Writers:
    if sys.platform != "linux":
        return Writers.UNKNOWN
    try:
        # Whoever opens the file in the instant between these calls waits for the last of them, and
        # we are sent a signal: by default SIGIO, of which a process dies. Nobody minds SIGURG.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return Writers.SOMEBODY
    except OSError:
        return Writers.UNKNOWN  # another's file, or a file system without leases
    return Writers.NOBODY
