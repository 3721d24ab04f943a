"""Reading the fields of a binary message one after another.

Rule: the message is complete when a cursor is put on it, so a field that does not fit is the
peer's fault and never means "wait for more". Whether it is complete is asked before, elsewhere.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from .errors import RemoteProtocolError

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Bytes received so far; the peeks read it and never change or keep it."""


class Cursor:
    """A position in one complete message; `what` names the message in errors."""

    __slots__ = ("_data", "_offset", "_what")

    def __init__(self, data: bytes, *, what: str) -> None:
        self._data: Final = data
        self._what: Final = what
        self._offset = 0

    @property
    def is_at_end(self) -> bool:
        return self._offset == len(self._data)

    def get_bytes(self, count: int) -> bytes:
        """Take `count` bytes.

        :raises RemoteProtocolError: when fewer are left, as all the `get_` methods do.
        """
        end = self._offset + count
        if end > len(self._data):
            raise RemoteProtocolError(f"{self._what} is cut short: {end - len(self._data)} bytes are missing")
        taken = self._data[self._offset : end]
        self._offset = end
        return taken

    def get_u8(self) -> int:
        return self.get_bytes(1)[0]

    def get_u16(self) -> int:
        return int.from_bytes(self.get_bytes(2), "big")

    def get_u24(self) -> int:
        return int.from_bytes(self.get_bytes(3), "big")

    def check_end(self) -> None:
        """:raises RemoteProtocolError: when bytes are left over."""
        if not self.is_at_end:
            left = len(self._data) - self._offset
            raise RemoteProtocolError(f"{self._what} is too long: {left} bytes are left over")
