"""SPEC.md says what the code does, as far as names and numbers can be compared."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Final, get_args

import pytest

import transport.wire.mux
from agent.gateway.egress import OPENING
from agent.gateway.egress_attempts import MOST
from agent.gateway.egress_connection import DIAL_TIMEOUT, MOST_JUDGED
from agent.gateway.egress_room import MOST_IN_VAIN
from schemas.messages import (
    MAX_DECLARED,
    MAX_SERVICES,
    MAX_SESSION_NUMBER,
    MAX_SESSIONS,
    MAX_TEXT,
    PROTOCOL,
    ControlMessage,
    FailureCode,
    RefusalCode,
)
from schemas.names import ProxyProtocol
from transport import session
from transport.pump.carrier import PING_INTERVAL, PING_TIMEOUT
from transport.pump.held import PROCESS_LIMIT, SESSION_LIMIT
from transport.pump.link import CLIENTS_OFFERED, PROCESS_GROWTH, SESSION_GROWTH
from transport.tls import ALPN
from transport.wire.control import MAX_LINE
from transport.wire.frames import ACK, FIN, RST, SYN, VERSION, FrameType, GoAwayCode
from transport.wire.http_head import MAX_HEAD
from transport.wire.mux import MuxLimits
from transport.wire.open_header import MAX_HEADER, OpenHeader
from transport.wire.upgrade_request import PATH
from transport.wire.websocket import FOR_EACH, MAX_MESSAGE, MOST_SMALL, SMALL
from transport.wire.window import INITIAL_WINDOW, MAX_WINDOW

SPEC: Final = Path(transport.wire.mux.__file__).with_name("SPEC.md").read_text(encoding="utf-8")
MESSAGES: Final = get_args(ControlMessage)


def row(first: str) -> str:
    """The row of a table that begins with that cell."""
    (found,) = re.findall(rf"^\| {re.escape(first)} \|.*$", SPEC, re.MULTILINE)
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("message", MESSAGES)
def test_each_message_is_a_row_with_all_its_keys(message: type[ControlMessage]) -> None:
    keys = re.findall(r"`(\w+)`", row(f"`{message.type}`").split("|")[3])

    assert keys == [field.name for field in fields(message)]


def test_there_are_no_other_messages() -> None:
    section = SPEC.partition("## 4.")[2].partition("Codes of `refusal`")[0]

    assert set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == {message.type for message in MESSAGES}


def test_each_code_is_explained() -> None:
    for code in RefusalCode:
        assert row(f"`{code.value}`")
    (failures,) = re.findall(r"^Codes of `stream_failed`:(.*?)\n\n", SPEC, re.MULTILINE | re.DOTALL)
    assert re.findall(r"`(\w+)`", failures) == [code.value for code in FailureCode]


def test_the_open_header_has_its_keys_and_no_others() -> None:
    section = SPEC.partition("## 5.")[2].partition("### Egress")[0]

    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(OpenHeader._fields)
    assert all(f'"{version.value}"' in row("`proxy_protocol`") for version in ProxyProtocol)


def test_types_and_flags_have_their_numbers() -> None:
    assert f"| 1 | version | {VERSION} |" in SPEC
    assert "| 1 | type | 0 data, 1 window update, 2 ping, 3 go away |" in SPEC
    assert [kind.value for kind in FrameType] == [0, 1, 2, 3]
    assert "| 2 | flags | 1 SYN, 2 ACK, 4 FIN, 8 RST; all other bits 0 |" in SPEC
    assert (SYN, ACK, FIN, RST) == (1, 2, 4, 8)
    assert [code.value for code in GoAwayCode] == [0, 1, 2]


@pytest.mark.parametrize(
    "said",
    [
        f"ALPN is `{ALPN}`",
        f"whose last segment is `{PATH.removeprefix('/')}`",
        f"A message has at most {MAX_MESSAGE:,} bytes",
        f"a ping every {PING_INTERVAL:g} seconds.",
        f"nothing at all is heard for {PING_TIMEOUT:g} seconds after one is dead",
        f"| a message of a WebSocket | {MAX_MESSAGE >> 10} KiB |",
        f"| the head of a request for one | {MAX_HEAD >> 10} KiB |",
        f"begins with {INITIAL_WINDOW:,} bytes of credit",
        f"has at most {MAX_LINE:,} bytes",
        f"at most {MAX_DECLARED} of them in a message",
        f"at most {MAX_HEADER:,}",
        f"an array of up to {MAX_SERVICES:,} of them",
        f"cuts it at {MAX_TEXT:,} characters",
        f"this implementation takes 1 to {MAX_SESSION_NUMBER}, so that each of {MAX_SESSIONS} sessions",
        f"client has (this implementation: {MAX_SESSIONS})",
        f"now {PROTOCOL},",
        f"for {session.GREETING_TIMEOUT:g} seconds during the greeting",
        f"| the greeting | {session.GREETING_TIMEOUT:g} s |",
        f"| a line of the control stream | {MAX_LINE // 1024} KiB |",
        f"| number of a session | {MAX_SESSION_NUMBER} |",
        f"whose number another one has | {MAX_SESSIONS} |",
        f"| an open header, an egress header | {MAX_HEADER // 1024} KiB |",
        f"the gateway opened and nobody has answered | {MuxLimits().max_offered:,} |",
        f"the client opened and nobody has answered | {CLIENTS_OFFERED} |",
        f"dialed at once for one client | {OPENING} |",
        f"that come to nothing | {MOST_IN_VAIN} in a second |",
        f"looked at, and dialed | {MOST_JUDGED}, and {MOST} |",
        f"less than {SMALL} bytes | {MOST_SMALL} in {PING_INTERVAL:g} s, and one for each {FOR_EACH} bytes |",
        f"and finding its addresses | {DIAL_TIMEOUT:g} s |",
        f"| streams of a session | {MuxLimits().max_streams:,} |",
        f"queued since the last write | {MuxLimits().max_answers:,} |",
        f"does not read | {MuxLimits().max_unsent // 1024**2} MiB |",
        f"up to {MAX_WINDOW // 1024**2} MiB",
        f"they begin with | {SESSION_GROWTH >> 20} MiB a session, {PROCESS_GROWTH >> 20} MiB a process |",
        f"for a dial | {SESSION_LIMIT >> 20} MiB a session, {PROCESS_LIMIT >> 20} MiB a process |",
    ],
)
def test_each_number_is_the_one_in_the_code(said: str) -> None:
    assert said in SPEC
