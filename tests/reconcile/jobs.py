"""Work for a process of its own, which a test can follow through a FIFO."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from reconcile.reading import StateText
from schemas.roles import Role


def work_forever(fifo: Path) -> NoReturn:
    """Say through the FIFO that it has begun. The FIFO ends when the process does."""
    descriptor = os.open(fifo, os.O_WRONLY)
    os.write(descriptor, b"begun")
    while True:
        time.sleep(3600)


def run_out_of_memory() -> None:
    raise MemoryError


def complain(size: int, status: int | None = None) -> str:
    """Write so many bytes to stderr, a line more, and end with the status if there is one."""
    with os.fdopen(2, "w", closefd=False) as stderr:
        stderr.write("x" * size + "\nthe last line\n")
    if status is not None:
        os._exit(status)
    return "done"


def die(texts: Sequence[StateText], role: Role) -> None:
    """In the place of an understanding: what the kernel does to whoever takes too much memory."""
    os.kill(os.getpid(), 9)
