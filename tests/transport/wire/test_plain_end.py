"""Bytes go through it as they are, and nothing is said beside them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transport.wire.plain_end import PlainEnd


@given(st.lists(st.binary()))
def test_what_comes_and_what_goes_is_as_it_was_and_is_the_receivers_own(pieces: list[bytes]) -> None:
    end = PlainEnd()
    for piece in pieces:
        shared = bytearray(piece)
        came, goes = end.receive(memoryview(shared)), end.send(memoryview(shared))
        shared[:] = bytes(len(shared))
        assert came == goes == piece

    assert end.received == sum(map(len, pieces))
    assert not end.has_ended


def test_it_says_nothing_of_its_own_and_ends_with_either_side() -> None:
    ours, theirs = PlainEnd(), PlainEnd()
    theirs.receive_end()

    assert ours.ping(1) + ours.take_answers() + ours.close() == b""
    assert (ours.has_ended, theirs.has_ended) == (True, True)
    assert ours.failure == theirs.failure == ""
