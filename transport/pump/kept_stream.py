"""A stream that may be refused, and what has been sent on it until it is accepted.

Rule: what was sent on a stream that is refused can be sent on another. So a copy is kept, and no more is
sent than is kept: beyond the limit there is no credit, and reading pauses as for any full stream.

It stands in for the stream where the relay has it, and makes room for it when the far side accepts. A relay
whose visitor can be led to one place only has the stream itself from the beginning, and pays for nothing.
"""

from __future__ import annotations

from typing import Final

from transport.wire.mux import MuxStream

LIMIT: Final = 64 * 1024
"""What a visitor may have said before it is accepted anywhere, in bytes. What was peeked at may be more."""


class KeptStream:
    """What a relay needs of a stream that it has opened, until it is accepted.

    :param stream: just opened.
    :param kept: what went with its first frame, behind the header. It becomes this one's own.
    """

    __slots__ = ("kept", "stream")

    def __init__(self, stream: MuxStream, kept: bytearray) -> None:
        self.stream = stream
        self.kept = kept

    @property
    def id(self) -> int:
        return self.stream.id

    @property
    def may_send(self) -> bool:
        return self.stream.may_send

    @property
    def is_closed(self) -> bool:
        return self.stream.is_closed

    @property
    def send_window(self) -> KeptStream:
        """It has the credit, as the window of the stream does."""
        return self

    @property
    def credit(self) -> int:
        return max(0, min(self.stream.send_credit, LIMIT - len(self.kept)))

    @property
    def send_credit(self) -> int:
        """How many bytes may be sent now."""
        return self.credit

    def send(self, data: bytes | bytearray | memoryview) -> int:
        unsent = self.stream.send(data)
        self.kept += data
        return unsent

    def send_fin(self) -> None:
        self.stream.send_fin()

    def reset(self) -> None:
        self.stream.reset()

    def take(self, size: int) -> None:
        self.stream.take(size)
