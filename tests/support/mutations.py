"""Valid bytes, damaged as a fuzzer would damage them, and bytes cut as a network would cut them.

Rule: nothing here knows what the bytes mean. Damage stays close to the valid input, because what is far from
it is refused by the first check and never sees the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

from hypothesis import strategies as st

_Edit: TypeAlias = Callable[[st.DrawFn, bytearray, int, int], None]
_MOST_EDITS: Final = 4
# Lengths, ends of lines and quotes are what parsers trip over; Hypothesis finds them slowly by itself.
_TELLING: Final = [
    b"\x00",
    b"\xff",
    b"\r",
    b"\n",
    b"\r\n",
    b" ",
    b'"',
    b"\\",
    b"{",
    b"\x7f\xff",
    b"\xff\xff\xff\xff",
]


@st.composite
def mutated(draw: st.DrawFn, valid: Sequence[bytes]) -> bytes:
    """One of the valid inputs, flipped, overwritten, inserted into, deleted from, doubled or cut off."""
    wire = bytearray(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, _MOST_EDITS))):
        start = draw(st.integers(0, len(wire)))
        end = min(len(wire), start + draw(st.integers(1, 16)))
        draw(st.sampled_from(_EDITS))(draw, wire, start, end)
    return bytes(wire)


def cuts(data: bytes, places: Sequence[int]) -> Iterator[bytes]:
    """The pieces of ``data`` between these places; places beyond its end are left out."""
    inside = sorted({place for place in places if 0 < place < len(data)})
    for start, end in zip([0, *inside], [*inside, len(data)], strict=True):
        yield data[start:end]


def _flip(draw: st.DrawFn, wire: bytearray, start: int, end: int) -> None:
    if start < end:
        wire[start] ^= 1 << draw(st.integers(0, 7))


def _overwrite(draw: st.DrawFn, wire: bytearray, start: int, end: int) -> None:
    wire[start:end] = draw(st.sampled_from(_TELLING) | st.binary(max_size=end - start))


def _insert(draw: st.DrawFn, wire: bytearray, start: int, end: int) -> None:
    wire[start:start] = draw(st.sampled_from(_TELLING) | st.binary(min_size=1, max_size=8))


def _delete(draw: st.DrawFn, wire: bytearray, start: int, end: int) -> None:
    del wire[start:end]


def _double(draw: st.DrawFn, wire: bytearray, start: int, end: int) -> None:
    wire[end:end] = wire[start:end]


def _cut_off(draw: st.DrawFn, wire: bytearray, start: int, end: int) -> None:
    del wire[start:]


_EDITS: Final[list[_Edit]] = [_flip, _overwrite, _insert, _delete, _double, _cut_off]
