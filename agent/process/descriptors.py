"""How many files and sockets this process may have open, and for what.

Rule: as many as the system lets it, and not all of them for whatever there can be any
number of. Who opened ports or let visitors in to the last descriptor could not read the
state that takes the ports back, nor tell anybody what is wrong.

The system gives each new descriptor the lowest number that is free. What there can be
many of may therefore not have one of the highest numbers: those are free, then, or held
by what may hold them. Nothing has to be counted for that, and no visitor who came since
makes it wrong::

    0 ................................ limit-128 ... limit-64 ... limit-32 ... limit
      ports, visitors, sessions, files | visitors ... | sessions ... | files, admin socket

The soft limit that most systems begin with is 1,024, for programs that use select(); a
gateway needs a descriptor for each port, each visitor and each session.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from enum import Enum
from typing import Final

if sys.platform != "win32":
    import resource

# What is kept from ports. A fourth at most, where there are few at all.
_KEPT: Final = 128
REMEDY: Final = "raise the limit (LimitNOFILE, ulimit -n)"
_OR: Final = "or declare fewer ports"

#: Why a connection is turned away.
TOO_MANY: Final = f"the files that are left are kept for the agent itself: {REMEDY}"

_SHORTAGE: Final = frozenset({errno.EMFILE, errno.ENFILE})


class Use(Enum):
    """What there can be many of, by the part of what is kept that it may not have either."""

    PORT = 1
    VISITOR = 2  # half of it
    SESSION = 4  # a fourth of it; also who asks a management port


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open files to the hard one. Does nothing where there are no such limits."""
    if sys.platform == "win32":
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS knows an unlimited hard limit that it does not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def descriptor_limit() -> int | None:
    """How many this process may have open now; None if nothing limits it."""
    if sys.platform == "win32":
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)  # somebody may raise it while we run: prlimit(1)
    return None if soft == resource.RLIM_INFINITY else soft


def may_have(use: Use, descriptor: int) -> bool:
    """Whether something of that use may have the descriptor that it got. If not, close it."""
    limit = descriptor_limit()
    return limit is None or descriptor < _end(use, limit)


def room_for(use: Use) -> int | None:
    """How many more of that use there may be now; None if nothing limits them. Lists what is open."""
    limit = descriptor_limit()
    if limit is None:
        return None
    try:
        open_now = [int(name) for name in os.listdir("/dev/fd")]  # noqa: PTH208 - of ten thousand, names will do
    except OSError as error:
        return 0 if error.errno in _SHORTAGE else None
    end = _end(use, limit)
    return max(0, end - sum(number < end for number in open_now))


def shortage() -> str:
    """That there are too few for another port, and what to do about it.

    The same at every attempt, however many are left just then: what is said anew is logged anew.
    """
    limit = descriptor_limit() or 0
    kept = limit - _end(Use.PORT, limit)
    return (
        f"this agent may open {limit:,} files and has no more left than the {kept} that it needs itself: "
        f"{REMEDY} {_OR}"
    )


def too_many(ports: int, room: int) -> str:
    """That there is no room for so many more ports at once."""
    limit = descriptor_limit() or 0
    return (
        f"this agent may open {limit:,} files, which leaves room for {room:,} more ports, and {ports:,} are "
        f"asked for: {REMEDY} {_OR}"
    )


def _end(use: Use, limit: int) -> int:
    return limit - min(_KEPT, limit // 4) // use.value
