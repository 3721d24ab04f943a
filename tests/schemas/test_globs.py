"""What a star stands for, and what it costs."""

from __future__ import annotations

from fnmatch import translate
from re import DOTALL, compile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.globs import compile_glob


@pytest.mark.parametrize(
    ("glob", "name", "matches"),
    [
        ("mail.example.com", "mail.example.com", True),
        ("mail.example.com", "mail-example-com", False),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "a.example.com.evil.test", False),
        ("smtp-*", "smtp-", True),
        ("*", "", True),
    ],
)
def test_a_star_is_any_characters_and_everything_else_is_itself(glob: str, name: str, matches: bool) -> None:
    assert bool(compile_glob(glob).fullmatch(name)) == matches


@given(glob=st.text("ab.*", max_size=8), name=st.text("ab.", max_size=12))
def test_giving_nothing_up_again_finds_what_trying_everything_finds(glob: str, name: str) -> None:
    everything = compile(translate(glob), DOTALL)

    assert bool(compile_glob(glob).fullmatch(name)) == bool(everything.match(name))


def test_no_name_is_slow_to_match() -> None:
    """Trying all combinations would not end today."""
    assert compile_glob("*a" * 40).fullmatch("a" * 39 + "b" * 200) is None
