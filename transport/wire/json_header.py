"""The form of the first bytes of a stream: a two-byte length, and that many bytes of JSON.

Rule: what every such header has in common is here: its length, its limit, and that it is one
JSON object. Which keys it has and what they may hold is said by each header's own file.
"""

from __future__ import annotations

import json
from typing import Final

from .errors import RemoteProtocolError

_LENGTH_SIZE: Final = 2
# A header is about 200 bytes; this is what its two bytes could announce, cut to what any
# name can need, so that a broken peer cannot make us wait for 64 KiB.
MAX_HEADER: Final = 4_096


class JsonHeader:
    """One kind of header; ``what`` names it in errors."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what: Final = what

    @staticmethod
    def encode(text: str) -> bytes:
        """The text with its length in front. It is one of ours, so it is not too long."""
        encoded = text.encode()
        return len(encoded).to_bytes(_LENGTH_SIZE, "big") + encoded

    def peek(self, buffer: bytes | bytearray) -> tuple[str, int] | None:
        """The text of the header at the start of ``buffer`` and what it takes of it, or None for "need more".

        :raises RemoteProtocolError: if it is too long, or no text.
        """
        if len(buffer) < _LENGTH_SIZE:
            return None
        size = int.from_bytes(buffer[:_LENGTH_SIZE], "big")
        if size > MAX_HEADER:
            raise self.malformed(f"{size} bytes are more than the {MAX_HEADER} allowed")
        end = _LENGTH_SIZE + size
        if len(buffer) < end:
            return None
        try:
            return buffer[_LENGTH_SIZE:end].decode(), end
        except ValueError:
            raise self._no_json() from None

    def read(self, text: str) -> dict[str, object]:
        """The object that the text says.

        :raises RemoteProtocolError: if it says none.
        """
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise self._no_json() from None
        if not isinstance(value, dict):
            raise self.malformed("it is not a JSON object")
        return value

    def malformed(self, message: str) -> RemoteProtocolError:
        return RemoteProtocolError(f"{self._what} is malformed: {message}")

    def _no_json(self) -> RemoteProtocolError:
        return self.malformed("it is not JSON")
