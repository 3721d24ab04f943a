"""A header is twelve bytes in the layout that every yamux has."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.wire.frames import (
    ACK,
    ALL_FLAGS,
    FIN,
    HEADER,
    HEADER_SIZE,
    MAX_LENGTH,
    RST,
    SYN,
    FrameType,
    GoAwayCode,
    encode_header,
)


@pytest.mark.parametrize(
    ("kind", "flags", "stream_id", "length", "wire"),
    [
        (FrameType.DATA, 0, 1, 5, "00 00 0000 00000001 00000005"),
        (FrameType.DATA, FIN, 3, 0, "00 00 0004 00000003 00000000"),
        (FrameType.WINDOW_UPDATE, SYN, 1, 0, "00 01 0001 00000001 00000000"),
        (FrameType.WINDOW_UPDATE, ACK, 1, 256, "00 01 0002 00000001 00000100"),
        (FrameType.WINDOW_UPDATE, RST, 2, 0, "00 01 0008 00000002 00000000"),
        (FrameType.PING, SYN, 0, 0xDEADBEEF, "00 02 0001 00000000 deadbeef"),
        (FrameType.GO_AWAY, 0, 0, GoAwayCode.PROTOCOL_ERROR, "00 03 0000 00000000 00000001"),
        (FrameType.DATA, 0, 2**32 - 1, MAX_LENGTH, "00 00 0000 ffffffff ffffffff"),
    ],
)
def test_a_header_is_laid_out_as_the_yamux_specification_says(
    kind: FrameType, flags: int, stream_id: int, length: int, wire: str
) -> None:
    assert encode_header(kind, flags, stream_id, length) == bytes.fromhex(wire)


@given(
    st.sampled_from(FrameType),
    st.integers(0, ALL_FLAGS),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
)
def test_a_header_is_read_as_it_was_written(kind: FrameType, flags: int, stream_id: int, length: int) -> None:
    wire = encode_header(kind, flags, stream_id, length)

    assert len(wire) == HEADER_SIZE == 12
    assert HEADER.unpack(wire) == (0, kind, flags, stream_id, length)


@pytest.mark.parametrize(("stream_id", "length"), [(2**32, 0), (-1, 0), (0, 2**32), (0, -1)])
def test_a_number_that_does_not_fit_its_field_is_refused(stream_id: int, length: int) -> None:
    with pytest.raises(struct.error):
        encode_header(FrameType.DATA, 0, stream_id, length)


def test_the_numbers_of_types_flags_and_codes_are_those_of_every_yamux() -> None:
    assert [(kind.name, kind.value) for kind in FrameType] == [
        ("DATA", 0),
        ("WINDOW_UPDATE", 1),
        ("PING", 2),
        ("GO_AWAY", 3),
    ]
    assert (SYN, ACK, FIN, RST) == (1, 2, 4, 8)
    assert [code.value for code in GoAwayCode] == [0, 1, 2]
