from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.quoting import describe, kind, quote

PEM = "-----BEGIN PRIVATE KEY-----\nmade up\n-----END PRIVATE KEY-----\n"


@given(st.text())
def test_a_quoted_text_is_short_and_prints_on_one_line(text: str) -> None:
    quoted = quote(text)
    assert quoted.isprintable()
    assert len(quoted) < 1000


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("web", '"web"'),
        ('a "b"', '"a \\"b\\""'),
        ("a\nb\x00", '"a\\nb\\x00"'),
        ("x" * 81, '"' + "x" * 80 + '…"'),
        ("\ud800", '"\\ud800"'),
    ],
)
def test_a_text_is_quoted_so_that_it_can_be_recognized(text: str, quoted: str) -> None:
    assert quote(text) == quoted


def test_key_material_is_never_quoted() -> None:
    assert "made up" not in quote(PEM)
    assert "made up" not in describe(PEM)


def test_a_number_too_long_to_print_is_still_described() -> None:
    assert describe(10**5000) == "a number"


@pytest.mark.parametrize(
    ("value", "described", "kind_of_it"),
    [
        (None, "no value", "no value"),
        (True, "true", "a truth value"),
        (22, "the number 22", "a number"),
        (1.5, "the number 1.5", "a number"),
        (10**50, "a number", "a number"),
        (float("nan"), "a number", "a number"),
        ("web", 'the text "web"', "a text"),
        ([], "an empty list", "an empty list"),
        ([1], "a list", "a list"),
        ({}, "an empty mapping", "an empty mapping"),
        ({"a": 1}, "a mapping", "a mapping"),
        (date(1979, 5, 27), "a date or time", "a date or time"),
    ],
)
def test_a_value_is_described_in_words(value: object, described: str, kind_of_it: str) -> None:
    assert describe(value) == described
    assert kind(value) == kind_of_it
