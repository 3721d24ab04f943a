"""Doing something on another machine of ours, see ``namespaces``, without a process there.

Rule: a socket belongs to the machine on which it was made, whoever uses it.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from .namespaces import Machine

_CLONE_NEWNET: Final = 0x40000000
_T = TypeVar("_T")


def within(machine: Machine, make: Callable[[], _T]) -> _T:
    """What that returns on the machine. A thread of its own goes there, and ends there."""
    made: list[_T] = []
    errors: list[Exception] = []

    def go() -> None:
        try:
            with Path("/run/netns", machine.name).open() as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            made.append(make())
        except Exception as error:  # noqa: BLE001 - raised where somebody waits for it
            errors.append(error)

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return made[0]


def add_address(machine: Machine, address: str, bits: int = 24) -> None:
    """Give it one more address on its interface."""
    # Nobody else there has it: an IPv6 address need not wait for somebody to say so.
    _address(machine, "add", f"{address}/{bits}", *(["nodad"] if ":" in address else []))


def remove_address(machine: Machine, address: str, bits: int = 24) -> None:
    """Take one of its addresses away. Nobody is told."""
    _address(machine, "del", f"{address}/{bits}")


def _address(machine: Machine, verb: str, address: str, *options: str) -> None:
    command = ["ip", "-n", machine.name, "addr", verb, address, "dev", machine.interface, *options]
    subprocess.run(command, check=True, capture_output=True, text=True)
