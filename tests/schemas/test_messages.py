"""What makes a JSON object a message, and what a peer cannot make us keep."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from typing import Final

import pytest

from schemas.messages import (
    MAX_SERVICES,
    MAX_TEXT,
    FailureCode,
    Hello,
    Refusal,
    RefusalCode,
    StreamFailed,
    read_message,
    write_message,
)

HELLO: Final = {"type": "hello", "protocol": 1, "id": "a", "software": "s", "services": []}


def said(**message: object) -> bytes:
    return json.dumps(message).encode()


def test_keys_that_are_not_known_are_ignored() -> None:
    """A newer peer may say more."""
    assert read_message(said(type="drain", deadline=3)) is not None


def test_a_type_that_is_not_known_is_no_message_and_no_error() -> None:
    assert read_message(said(type="greetings", from_="2031")) is None


@pytest.mark.parametrize(
    "message",
    [
        {key: value for key, value in HELLO.items() if key != "services"},
        {**HELLO, "protocol": "1"},  # a text for a number
        {**HELLO, "id": "a b"},
        {**HELLO, "services": ["x"] * (MAX_SERVICES + 1)},
        {**HELLO, "instance": "a b"},
        {**HELLO, "instance": None},
        {**HELLO, "session": 0},
        {**HELLO, "session": 2**31},
        {**HELLO, "session": "1"},
        {"type": "stream_failed", "stream": 0, "code": "service_down", "message": "m"},
        {"type": "stream_dialed", "stream": 3, "source": ["192.0.2.7"]},
        {"type": "stream_dialed", "stream": 3, "source": ["gw.example", 1]},
        {"type": "stream_dialed", "stream": 3, "source": ["fe80::1%eth0", 1]},
        {"type": "stream_dialed", "stream": 3, "source": ["192.0.2.7", 65_536]},
        {"type": "stream_dialed", "stream": 3, "source": ["192.0.2.7", True]},
        {"protocol": 1},
        [],
    ],
)
def test_what_is_no_message_is_refused_in_words(message: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_message(json.dumps(message).encode())


@pytest.mark.parametrize("key", ["type", "stream", "source"])
def test_what_is_wrong_with_a_message_is_short_however_long_the_message_is(key: str) -> None:
    """It is logged, and told to the peer."""
    wrong = {"type": "stream_dialed", "stream": 3, "source": ["192.0.2.7", 1], key: ["x" * 10_000, 1]}

    with pytest.raises(ValueError, match=r".+") as refused:
        read_message(said(**wrong))

    assert len(str(refused.value)) < 100


def test_a_client_that_names_no_instance_speaks_of_its_only_session() -> None:
    """As one did before there were several."""
    hello = read_message(said(**HELLO))
    assert isinstance(hello, Hello)
    assert (hello.instance, hello.session) == ("", 1)


def test_an_instance_may_be_named_as_nothing() -> None:
    hello = Hello(protocol=1, id="a", software="s", services=(), instance="")
    assert read_message(write_message(hello)) == hello


def test_a_reason_of_a_newer_peer_is_taken_as_it_is() -> None:
    """Its code is other; its words are what a person reads."""
    message = read_message(said(type="stream_failed", stream=2, code="on_fire", message="the service burns"))
    assert message == StreamFailed(stream=2, code=FailureCode.OTHER, message="the service burns")


def test_a_text_is_short_and_printable_whoever_says_it() -> None:
    """It is shortened and mended, not refused: the reason of an error must arrive."""
    refusal = Refusal(code=RefusalCode.MALFORMED, message="\x1b[2J" + "x" * 2 * MAX_TEXT)
    assert len(refusal.message) == MAX_TEXT
    assert refusal.message.isprintable()


def test_a_message_does_not_change() -> None:
    hello = Hello(protocol=1, id="a", software="s", services=("web",))
    with pytest.raises(FrozenInstanceError):
        hello.id = "b"  # type: ignore[misc]  # mypy knows it too


def test_what_is_wrong_is_told_with_its_place() -> None:
    tunnel = {"name": "a b", "listen": [], "service": "s"}
    with pytest.raises(ValueError, match=r'^tunnels: name: the name "a b" may hold only'):
        read_message(said(type="declare", number=1, tunnels=[tunnel]))


def test_whoever_makes_a_message_is_held_to_the_same_as_a_peer() -> None:
    with pytest.raises(ValueError, match=r"^services: these are 1001, more than 1000"):
        Hello(protocol=1, id="a", software="s", services=("x",) * (MAX_SERVICES + 1))
