"""What a peer may not say, and what is passed over, in the bytes of section 2 to 4 of SPEC.md.

Rule: each is said on a session that is open and on which stream 2 is open and acknowledged, so that one table
serves against a gateway and against a client.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .yamux_peer import (
    ACK,
    DATA,
    FIN,
    FIRST_WINDOW,
    GO_AWAY,
    PING,
    RST,
    SYN,
    data,
    header,
    line,
    ping,
    window,
)

_LONGEST: Final = 2**32 - 1
_LINE: Final = 196_608
_HELLO: Final = line(type="hello", protocol=1, id="office", software="x", services=[])
_TUNNEL: Final = {"name": "x", "listen": ["nonsense"], "service": "x"}
_WELCOME: Final = line(type="welcome", protocol=1, gateway="x", software="x")


@dataclass(frozen=True, slots=True)
class Violation:
    """Bytes that end a session, the words in its reason, and the code of the goodbye."""

    said: bytes
    words: str
    code: int = 1


VIOLATIONS: Final = {
    "a byte beyond the window": Violation(header(DATA, 0, 2, FIRST_WINDOW + 1), "bytes into a window of"),
    "a frame of 4 GiB": Violation(header(DATA, 0, 2, _LONGEST), "4294967295 bytes into a window of"),
    "credit for 4 GiB": Violation(window(2, _LONGEST), "more than a window can hold"),
    "credit that adds up": Violation(window(2, 2**31) * 2, "more than a window can hold"),
    "data behind the end": Violation(data(2, b"", FIN) + data(2, b"x"), "RECV_DATA on stream 2"),
    "two ends": Violation(data(2, b"", FIN) * 2, "RECV_FIN on stream 2"),
    "a second acknowledgement": Violation(window(2, 0, ACK), "RECV_ACK on stream 2"),
    "stream 0 opened": Violation(window(0, 0, SYN), "stream id 0 is not the peer's to open"),
    "data for stream 0": Violation(data(0, b"x"), "without the stream's id"),
    "credit for stream 0": Violation(window(0, 1), "without the stream's id"),
    "a ping on a stream": Violation(header(PING, SYN, 2, 1), "concerns the session, not stream 2"),
    "a goodbye on a stream": Violation(header(GO_AWAY, 0, 2, 0), "concerns the session, not stream 2"),
    "an unknown type": Violation(header(4, 0, 0, 0), "unknown frame type 4"),
    "an unknown flag": Violation(header(DATA, 16, 2, 0), "unknown flags 0x0010"),
    "another version": Violation(header(DATA, 0, 2, 0, version=1), "frame version 1"),
    "an unknown goodbye": Violation(header(GO_AWAY, 0, 0, 3), "unknown go-away code 3"),
    "our mistake": Violation(header(GO_AWAY, 0, 0, 1), "the peer ended the session (protocol error)", 0),
    "its own mistake": Violation(header(GO_AWAY, 0, 0, 2), "the peer ended the session (internal error)", 0),
    "no JSON": Violation(data(1, b"nonsense\n"), "a control message is malformed"),
    "no object": Violation(data(1, b"[1]\n"), "a control message is malformed"),
    "a wrong value": Violation(data(1, line(type="services", services=7)), "a control message is malformed"),
    "more tunnels than there may be": Violation(
        data(1, line(type="declare", number=1, tunnels=[_TUNNEL] * 501)), "a control message is malformed"
    ),
    "a tunnel without a name": Violation(
        data(1, line(type="declare", number=1, tunnels=[{"listen": [":1"]}])),
        "a control message is malformed",
    ),
    "a declaration before the first": Violation(
        data(1, line(type="declared", number=-1, tunnels=[])), "a control message is malformed"
    ),
    "hello again": Violation(data(1, _HELLO), "the peer said hello after the greeting"),
    "welcome again": Violation(data(1, _WELCOME), "the peer said welcome after the greeting"),
    "a line without an end": Violation(data(1, b"x" * (_LINE + 1)), f"longer than {_LINE} bytes"),
    "the end of the control stream": Violation(data(1, b"", FIN), "the peer ended the session", 0),
    "a reset of the control stream": Violation(window(1, 0, RST), "the peer ended the session", 0),
}

PASSED_OVER: Final = {
    "credit for no stream": window(98, 1_000) + window(99, _LONGEST),
    "data for no stream": data(98, bytes(100_000)) + data(99, b"x", FIN),
    "an end, a reset and an acknowledgement of none": data(98, b"", FIN)
    + window(99, 0, RST)
    + window(98, 0, ACK),
    "64 MiB for no stream": header(DATA, 0, 98, 64 << 20) + bytes(64 << 20),
    "nothing at all": data(2) + window(2) + data(98) + data(1),
    "a pong that nobody asked for": ping(77, ACK),
    "a ping that asks nothing": ping(77, 0),
    "a message of the future": data(1, line(type="of the future", services=7)),
    "a key of the future": data(1, line(type="drain", when="now")),
    "a failure of no stream": data(
        1, line(type="stream_failed", stream=99, code="of the future", message="x")
    ),
    "a failure of a stream that is open": data(
        1, line(type="stream_failed", stream=2, code="service_down", message="x")
    ),
    "a line in pieces": b"".join(data(1, bytes([byte])) for byte in line(type="services", services=["x"])),
    "tunnels that are none": data(1, line(type="declare", number=1, tunnels=[_TUNNEL] * 500)),
    "what came of tunnels that nobody declared": data(
        1, line(type="declared", number=7, tunnels=[{"name": "x", "problem": "\x1b[2J"}])
    ),
    "services that nobody offers": data(1, line(type="services_refused", services=["x"])),
    "a normal goodbye": header(GO_AWAY, 0, 0, 0),
}
