"""A client that asks a gateway to dial, frame by frame.

Rule: like ``yamux_peer``, nothing here comes from the code under test.
"""

from __future__ import annotations

import json
from typing import Any

from .yamux_peer import ACK, DATA, RST, SYN, YamuxPeer, data, window, with_length


class Asker:
    """A client that asks for one destination after the other."""

    def __init__(self, peer: YamuxPeer) -> None:
        self.peer = peer
        self._next = 3
        self._said = bytearray()

    def ask(self, host: str, port: int, first: bytes = b"") -> int:
        """Have the gateway dial; the number of the stream."""
        stream, self._next = self._next, self._next + 2
        header = with_length(json.dumps({"egress": [host, port]}).encode())
        self.peer.say(data(stream, header + first, SYN))
        return stream

    def outcome(self, stream: int) -> tuple[str, str]:
        """``accepted``, or the code of the failure and its words."""
        failure = ("no reason", "")
        while (said := self.peer.frame()) is not None:
            if said.stream == 1 and said.kind == DATA:
                self._said += said.payload
                self.peer.say(window(1, len(said.payload)))
                while (end := self._said.find(b"\n")) >= 0:
                    message: dict[str, Any] = json.loads(self._said[:end])
                    del self._said[: end + 1]
                    if message["type"] == "stream_failed" and message["stream"] == stream:
                        failure = message["code"], message["message"]
            elif said.stream == stream and said.flags & ACK:
                return "accepted", ""
            elif said.stream == stream and said.flags & RST:
                return failure
        raise AssertionError("the session ended before there was an answer")

    def asks(self, host: str, port: int) -> tuple[str, str]:
        return self.outcome(self.ask(host, port))

    def code(self, host: str, port: int) -> str:
        return self.asks(host, port)[0]
