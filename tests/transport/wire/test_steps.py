"""A handshake goes by its table, and takes a message when all of it is there."""

from __future__ import annotations

from enum import Enum, auto

import pytest

from transport.wire.errors import LocalProtocolError
from transport.wire.steps import Steps, take


class Light(Enum):
    RED = auto()
    GREEN = auto()


class Change(Enum):
    GO = auto()
    STOP = auto()


def test_a_row_is_followed_and_what_is_no_row_is_our_mistake() -> None:
    steps = Steps(Light.RED, {(Light.RED, Change.GO): Light.GREEN})
    with pytest.raises(LocalProtocolError, match="STOP does not come in state RED"):
        steps.follow(Change.STOP)
    before = steps.state
    steps.follow(Change.GO)

    assert (before, steps.state) == (Light.RED, Light.GREEN)


def test_a_message_is_taken_when_it_is_whole_also_one_that_says_no() -> None:
    def peek(buffer: bytearray) -> tuple[bool, int] | None:
        return None if len(buffer) < 2 else (buffer[1] == 1, 2)

    buffer = bytearray(b"\x00")
    assert take(peek, buffer) is None
    buffer += b"\x00rest"
    assert take(peek, buffer) is False
    assert buffer == b"rest"
