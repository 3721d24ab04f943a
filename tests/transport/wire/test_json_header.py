"""Every header of a stream has one form: a length, a limit, and one JSON object."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.wire.errors import RemoteProtocolError
from transport.wire.json_header import MAX_HEADER, JsonHeader

FORM = JsonHeader("the odd header")


@given(st.text(max_size=200).filter(lambda text: text.isprintable()), st.binary(max_size=20))
def test_a_text_is_read_as_it_was_written_and_what_follows_is_left(text: str, rest: bytes) -> None:
    encoded = FORM.encode(text)

    assert FORM.peek(encoded + rest) == (text, len(encoded))
    assert all(FORM.peek(bytearray(encoded[:end])) is None for end in range(len(encoded)))


def test_a_length_beyond_the_limit_is_refused_before_its_bytes_come() -> None:
    with pytest.raises(RemoteProtocolError, match=r"^the odd header is malformed: 4097 bytes are more than"):
        FORM.peek((MAX_HEADER + 1).to_bytes(2, "big"))
    assert FORM.peek(MAX_HEADER.to_bytes(2, "big")) is None


def test_what_is_no_text_is_the_peers_error() -> None:
    with pytest.raises(RemoteProtocolError, match="it is not JSON"):
        FORM.peek(b"\x00\x02\xff\xff")


@pytest.mark.parametrize("text", ["", "{", "[" * MAX_HEADER, "9" * MAX_HEADER])
def test_what_is_no_json_is_the_peers_error(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        FORM.read(text)


@pytest.mark.parametrize("text", ["[]", "null", "7", '"a"'])
def test_json_that_is_no_object_is_the_peers_error(text: str) -> None:
    with pytest.raises(RemoteProtocolError, match="it is not a JSON object"):
        FORM.read(text)


def test_an_object_is_read() -> None:
    assert FORM.read('{"egress": ["a", 1]}') == {"egress": ["a", 1]}


@given(st.binary(max_size=100))
def test_noise_gives_a_text_or_nothing_or_the_peers_error(noise: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        found = FORM.peek(noise)
        assert found is None or isinstance(found[0], str)
