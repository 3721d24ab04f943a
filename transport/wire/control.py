"""The control stream: JSON messages, one a line.

Rule: this file turns ``schemas.messages`` into bytes and back. It does not know
which message is legal when; ``transport.session`` does.
"""

from __future__ import annotations

from typing import Final

from schemas.messages import ControlMessage, read_message, write_message

from .errors import LocalProtocolError, RemoteProtocolError

# The longest message is a list of a thousand services with names of 128 characters. It must
# fit into the initial window, so that a message is always sent whole and at once.
MAX_LINE: Final = 192 * 1024


def encode_message(message: ControlMessage) -> bytes:
    """One line, with its newline.

    :raises LocalProtocolError: if it is longer than a peer would read.
    """
    line = write_message(message)
    if len(line) > MAX_LINE:
        raise LocalProtocolError(f"the message {message.type} has {len(line)} bytes, more than {MAX_LINE}")
    return line + b"\n"


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
            raise _too_long()
        return messages


def _decode(line: bytes) -> ControlMessage | None:
    if len(line) > MAX_LINE:
        raise _too_long()
    try:
        return read_message(line)
    except ValueError as error:
        raise RemoteProtocolError(f"a control message is malformed: {error}") from None


def _too_long() -> RemoteProtocolError:
    return RemoteProtocolError(f"a control message is longer than {MAX_LINE} bytes")
