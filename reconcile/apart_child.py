"""The process that ``apart`` starts: it reads one request, does the work, answers and ends.

Rule: little is imported here, because this is imported before anything is done.
"""

from __future__ import annotations

import gc
import os
import pickle
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

LENGTH: Final = 8  # bytes before a request that say how long it is
MEMORY_LIMIT: Final = 2 << 30
"""Bytes of address space. The largest state file takes half of that."""

NICENESS: Final = 10
_FIRST_TO_DIE: Final = "1000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no result."""

    message: str


def main() -> NoReturn:
    _be_modest()
    length = int.from_bytes(sys.stdin.buffer.read(LENGTH), "big")
    request = sys.stdin.buffer.read(length)
    threading.Thread(target=_end_with_the_agent, daemon=True).start()
    answer = pickle.dumps(do(request))
    with suppress(OSError):  # the agent has gone
        sys.stdout.buffer.write(answer)
        sys.stdout.buffer.flush()
    os._exit(0)  # taking everything down in order takes longer than it is worth


def do(request: bytes) -> object:
    """The result of a pickled request, or a failure."""
    try:
        asked: Request = pickle.loads(request)  # noqa: S301 - it comes from the agent that started this
        return asked.function(*asked.arguments)
    except MemoryError:
        return Failure(message=f"it takes more than {MEMORY_LIMIT >> 30} GiB of memory")
    except Exception as error:  # noqa: BLE001 - whatever it was, the agent tells of it
        said = " ".join(f"{type(error).__name__}: {error}".split())
        return Failure(message=f"a defect in Tidegate: {said}; please report it")


def _be_modest() -> None:
    """Let others go first: in the queue for a core, and when memory is short the other way round.

    A sandbox may forbid any of this, and then the work is done all the same.
    """
    with suppress(OSError):
        os.nice(NICENESS)
    limit_memory()


def limit_memory() -> None:
    """Do without this process rather than without its agent."""
    gc.disable()  # nothing here lives long enough to become garbage
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_DIE)
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))


def _end_with_the_agent() -> None:
    """The agent keeps its end of stdin open while it waits, so when that ends the agent has ended."""
    sys.stdin.buffer.read(1)
    os._exit(1)
