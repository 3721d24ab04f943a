from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.quantities import parse_duration, parse_size, spell_duration

from .reading import refusal


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0),
        ("1.5m", 90.0),
        ("200ms", 0.2),
        ("2h", 7200.0),
        ("3 s", 3.0),
        ("0s", 0.0),
        ("8760h", 31536000.0),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("10MiB", 10485760), ("64KiB", 65536), ("1.5kB", 1500), ("7B", 7), ("2GB", 2_000_000_000)],
)
def test_a_size_is_a_number_and_a_unit(text: str, bytes_: int) -> None:
    assert parse_size(text) == bytes_


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("30", 'write "30s"'),
        ("soon", 'for example "30s"'),
        ("-1s", 'for example "30s"'),
        ("1h30m", 'for example "30s"'),
        ("30 parsecs", 'for example "30s"'),
        ("", 'for example "30s"'),
        ("8761h", "at most 8760h"),
        ("٣s", 'for example "30s"'),
    ],
)
def test_anything_else_is_no_duration_and_the_message_says_what_to_write(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("10", 'write "10MiB" or "10B"'),
        ("big", 'for example "10MiB"'),
        ("10s", 'for example "10MiB"'),
        ("0.5B", "in a smaller unit"),
    ],
)
def test_anything_else_is_no_size_and_the_message_says_what_to_write(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        parse_size(text)


@given(st.text(), st.sampled_from([parse_duration, parse_size]))
def test_any_text_is_read_or_refused_with_a_value_error_of_one_line(
    text: str, parse: Callable[[str], float]
) -> None:
    assert (refusal(parse, text) or "").isprintable()


@given(st.integers(min_value=0, max_value=10**8))
def test_a_duration_that_is_spelled_is_read_back(milliseconds: int) -> None:
    assert round(parse_duration(spell_duration(milliseconds / 1000)) * 1000) == milliseconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "200ms"), (1.5, "1500ms"), (15, "15s"), (90, "90s"), (300, "5m"), (7200, "2h")],
)
def test_a_duration_is_spelled_in_the_largest_unit_that_holds_it(seconds: float, text: str) -> None:
    assert spell_duration(seconds) == text
