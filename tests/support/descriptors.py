"""What this process has open, for tests that look for leaks."""

from __future__ import annotations

import itertools
import os
import resource
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agent.process.descriptors import Use, _end
from schemas.names import ListenAddress

_DESCRIPTORS: Final = Path("/dev/fd")


def open_sockets() -> frozenset[tuple[int, int]]:
    """Every socket this process holds, by descriptor and inode."""
    found = set()
    for entry in _DESCRIPTORS.iterdir():
        try:
            status = os.fstat(int(entry.name))
        except OSError:
            continue  # the descriptor with which this directory was read
        if stat.S_ISSOCK(status.st_mode):
            found.add((int(entry.name), status.st_ino))
    return frozenset(found)


def listening_inode(address: ListenAddress) -> int:
    """Which socket of this process listens there."""
    with _listening(address) as found:
        return os.fstat(found.fileno()).st_ino


def break_listening(address: ListenAddress) -> None:
    """Let the socket that listens there fail at its next accept()."""
    with _listening(address) as found:
        found.shutdown(socket.SHUT_RDWR)


def _listening(address: ListenAddress) -> socket.socket:
    for descriptor, _ in open_sockets():
        candidate = socket.socket(fileno=os.dup(descriptor))
        if candidate.family in (socket.AF_INET, socket.AF_INET6):
            listens = candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if listens and candidate.getsockname()[:2] == (address.host, address.port):
                return candidate
        candidate.close()
    raise AssertionError(f"nobody listens at {address}")


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """While the block runs, this process can open nothing more (EMFILE)."""
    with descriptors_left(0):
        yield


@contextmanager
def descriptors_left(count: int) -> Iterator[int]:
    """While the block runs, so many numbers are there from the lowest free one on. Gives the limit."""
    with _limited(_lowest_free() + count) as limit:
        yield limit


@contextmanager
def room_left(use: Use, count: int) -> Iterator[None]:
    """While the block runs, so many numbers from the lowest free one on may have that use."""
    wanted = _lowest_free() + count
    limit = next(limit for limit in itertools.count(wanted) if _end(use, limit) == wanted)
    with _limited(limit):
        yield


def _lowest_free() -> int:
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    return free


@contextmanager
def _limited(limit: int) -> Iterator[int]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield limit
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
