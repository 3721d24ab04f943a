from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.revocation import MAX_SERIAL_BITS, parse_fingerprint, parse_serial, spell_serial


@given(st.integers(0, 2**MAX_SERIAL_BITS - 1))
def test_a_serial_number_is_the_same_in_every_spelling(serial: int) -> None:
    assert [
        parse_serial(spelling)
        for spelling in (serial, str(serial), hex(serial), hex(serial).upper(), spell_serial(serial))
    ] == [serial] * 5


@pytest.mark.parametrize(
    "value",
    [None, True, -1, 1.5, "", "4f2a", "x", "-1", "0x", "4f:2", 2**MAX_SERIAL_BITS, "ff:" * 20 + "ff", []],
)
def test_what_is_no_serial_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="not the serial number"):
        parse_serial(value)


@pytest.mark.parametrize(
    "text",
    [
        "5e" * 32,
        "5E" * 32,
        ":".join(["5e"] * 32),
        "sha256:" + "5e" * 32,
        "SHA256 " * 0 + "SHA-256=" + "5E:" * 31 + "5e",
    ],
)
def test_a_fingerprint_is_taken_as_tools_print_it(text: str) -> None:
    assert parse_fingerprint(text) == "5e" * 32


@pytest.mark.parametrize("text", ["", "5e" * 31, "5e" * 33, "xx" * 32, "md5:" + "5e" * 32])
def test_what_is_no_fingerprint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a SHA-256 fingerprint"):
        parse_fingerprint(text)
