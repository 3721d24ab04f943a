"""Credit is neither lost nor made up, and comes back once a quarter of the window is owed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.wire.errors import LocalProtocolError, RemoteProtocolError
from transport.wire.frames import MAX_LENGTH
from transport.wire.window import INITIAL_WINDOW, MAX_WINDOW, ReceiveWindow, SendWindow

sizes = st.integers(0, 2 * INITIAL_WINDOW)


def test_both_ends_begin_with_the_256_kib_that_every_yamux_begins_with() -> None:
    assert SendWindow().credit == ReceiveWindow().remaining == 256 * 1024


def test_all_credit_can_be_spent_and_not_a_byte_more() -> None:
    window = SendWindow()
    window.spend(INITIAL_WINDOW)
    with pytest.raises(LocalProtocolError):
        window.spend(1)

    assert window.credit == 0


def test_what_could_not_be_spent_is_still_there() -> None:
    window = SendWindow()
    with pytest.raises(LocalProtocolError):
        window.spend(INITIAL_WINDOW + 1)

    assert window.credit == INITIAL_WINDOW


def test_a_grant_that_no_window_can_hold_is_the_peers_error() -> None:
    window = SendWindow()
    window.grant(MAX_LENGTH - INITIAL_WINDOW)
    with pytest.raises(RemoteProtocolError):
        window.grant(1)

    assert window.credit == MAX_LENGTH


def test_bytes_without_credit_are_the_peers_error() -> None:
    window = ReceiveWindow(100)
    window.receive(100)
    with pytest.raises(RemoteProtocolError):
        window.receive(1)


def test_credit_comes_back_once_a_quarter_of_the_window_is_owed() -> None:
    window = ReceiveWindow(100)
    window.receive(100)

    assert [window.take(24), window.take(1), window.take(74), window.take(1)] == [0, 25, 74, 0]


def test_a_large_window_gives_credit_back_before_a_quarter_of_it_is_owed() -> None:
    """The sender has the rest to go on with meanwhile."""
    window = ReceiveWindow(MAX_WINDOW)
    window.receive(MAX_WINDOW)

    assert [window.take(1024 * 1024 - 1), window.take(1)] == [0, 1024 * 1024]


def test_bytes_that_were_only_received_give_no_credit_back() -> None:
    window = ReceiveWindow(100)
    window.receive(100)

    assert (window.remaining, window.owed) == (0, 0)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 300)), max_size=50), st.integers(1, 1000))
def test_what_is_left_and_owed_and_not_taken_is_always_the_window(
    steps: list[tuple[bool, int]], size: int
) -> None:
    """And the sender's credit, with what it was granted, never exceeds what is left."""
    window = ReceiveWindow(size)
    credit, untaken = size, 0
    for is_sending, wanted in steps:
        if is_sending:
            amount = min(wanted, credit)
            window.receive(amount)
            credit -= amount
            untaken += amount
        else:
            amount = min(wanted, untaken)
            untaken -= amount
            credit += window.take(amount)
        assert window.remaining + window.owed + untaken == size
        assert credit == window.remaining >= 0
        assert window.owed * 4 < size


@given(st.lists(sizes, max_size=20))
def test_a_window_that_is_emptied_and_taken_again_and_again_never_stalls(reads: list[int]) -> None:
    window = ReceiveWindow()
    for read in reads:
        amount = min(read, window.remaining)
        window.receive(amount)
        window.take(amount)
        assert window.remaining > 3 * INITIAL_WINDOW // 4
