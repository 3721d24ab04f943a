"""The control stream: JSON messages, one a line.

Rule: this file turns ``schemas.messages`` into bytes and back. It does not know
which message is legal when; ``transport.session`` does.
"""

from __future__ import annotations

import json
from typing import Final

from pydantic import TypeAdapter, ValidationError

from schemas.messages import ControlMessage

from .errors import RemoteProtocolError

# The longest message is a list of a thousand services with names of 128 characters. It must
# fit into the initial window, so that a message is always sent whole and at once.
MAX_LINE: Final = 192 * 1024

_ADAPTER: Final[TypeAdapter[ControlMessage]] = TypeAdapter(ControlMessage)


def encode_message(message: ControlMessage) -> bytes:
    """One line, with its newline."""
    return message.model_dump_json().encode() + b"\n"


class ControlDecoder:
    """Splits a stream of bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0  # so that a line fed byte by byte is searched once

    def receive_data(self, data: bytes | bytearray | memoryview) -> list[ControlMessage]:
        """The messages that are now complete. Unknown types are left out.

        :raises RemoteProtocolError: if a line is not a message, or is too long.
        """
        self._buffer += data
        messages: list[ControlMessage] = []
        while (end := self._buffer.find(b"\n", self._searched)) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._searched = 0
            message = _decode(line)
            if message is not None:
                messages.append(message)
        self._searched = len(self._buffer)
        if self._searched > MAX_LINE:
            raise RemoteProtocolError(f"a control message is longer than {MAX_LINE} bytes")
        return messages


def _decode(line: bytes) -> ControlMessage | None:
    if len(line) > MAX_LINE:
        raise RemoteProtocolError(f"a control message is longer than {MAX_LINE} bytes")
    try:
        return _ADAPTER.validate_json(line)
    except ValidationError as error:
        if _is_unknown_type(line, error):
            return None
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RemoteProtocolError(
            f"a control message is malformed: {where + ': ' if where else ''}{first['msg']}"
        ) from None


def _is_unknown_type(line: bytes, error: ValidationError) -> bool:
    if error.errors(include_input=False, include_url=False)[0]["type"] != "union_tag_invalid":
        return False
    message = json.loads(line)
    return isinstance(message, dict) and isinstance(message.get("type"), str)
