"""A cursor takes fields in order, and what does not fit is the peer's fault."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from transport.wire.cursor import Cursor
from transport.wire.errors import RemoteProtocolError


def test_fields_are_taken_in_network_order_one_after_another() -> None:
    cursor = Cursor(b"\x01\x02\x03\x04\x05\x06rest", what="a message")

    assert (cursor.get_u8(), cursor.get_u16(), cursor.get_u24()) == (1, 0x0203, 0x040506)
    assert cursor.get_bytes(4) == b"rest"
    assert cursor.is_at_end
    cursor.check_end()


@pytest.mark.parametrize("get", [Cursor.get_u16, Cursor.get_u24, lambda cursor: cursor.get_bytes(2)])
def test_a_field_that_does_not_fit_is_refused_and_nothing_is_taken(get: Callable[[Cursor], object]) -> None:
    cursor = Cursor(b"\x01", what="the greeting")

    with pytest.raises(RemoteProtocolError, match="the greeting is cut short"):
        get(cursor)
    assert cursor.get_u8() == 1


def test_bytes_left_over_are_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="the greeting is too long: 2 bytes"):
        Cursor(b"ab", what="the greeting").check_end()
