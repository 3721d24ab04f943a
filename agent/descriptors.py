"""How many files and sockets this process may have open.

Rule: as many as the system lets it. The soft limit that most systems begin with is
1,024, for programs that use select(); a gateway needs two for each visitor.
"""

from __future__ import annotations

import sys
from contextlib import suppress


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open files to the hard one. Does nothing where there are no such limits."""
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS knows an unlimited hard limit that it does not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
