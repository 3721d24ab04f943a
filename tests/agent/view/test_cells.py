"""Texts that fit a terminal, whoever wrote them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from agent.view.cells import amount, counted, elide, elide_end, fold, pad, printable, span, wrap

# Letters, wide letters, marks that take no cell of their own, and whatever else there is.
TEXTS = st.one_of(st.text(max_size=40), st.text(alphabet="ab -ブ日\u0301\u2764\ufe0f🇩🇪👍🏽\x1b", max_size=40))
LINES = TEXTS.map(printable)


@given(TEXTS)
def test_nothing_that_a_terminal_obeys_or_hides_is_drawn(text: str) -> None:
    assert printable(text).isprintable()


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("blog.example.com", "blog.example.com"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("two\nlines", "two lines"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\x9b31m", "\\x9b31m"),
        ("ブログ", "ブログ"),
        ("[bold]not markup[/]", "[bold]not markup[/]"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_is_hidden_is_written_as_an_escape_and_the_rest_as_it_is(text: str, drawn: str) -> None:
    assert printable(text) == drawn


@given(LINES, st.integers(0, 30))
def test_an_elided_text_takes_no_more_than_its_width_and_one_that_fits_is_whole(
    text: str, width: int
) -> None:
    for short in (elide(text, width), elide_end(text, width)):
        assert cell_len(short) <= width
        assert short == text or cell_len(text) > width


def test_the_middle_is_left_out_because_both_ends_tell_names_apart() -> None:
    assert elide("production-eu-west-blog", 12) == "producti…log"
    assert elide("日本語のブログ", 8) == "日本…グ"
    assert elide_end("the port is taken by nginx", 12) == "the port is…"


@given(st.lists(LINES, max_size=5), st.integers(1, 40))
def test_folded_names_take_no_more_than_their_width(names: list[str], width: int) -> None:
    assert cell_len(fold(names, width)) <= width


def test_names_that_do_not_fit_are_the_first_one_and_a_count() -> None:
    names = ["blog.example.com", "www.example.com", "example.com"]

    assert fold(names, 60) == "blog.example.com, www.example.com, example.com"
    assert fold(names, 20) == "blog.example.com +2"
    assert fold(names, 12) == "blog.exa… +2"
    assert fold([], 5) == ""


@given(LINES, st.integers(4, 30), st.integers(1, 4))
def test_a_wrapped_text_loses_nothing_but_spaces_unless_lines_are_limited(
    text: str, width: int, most: int
) -> None:
    lines = wrap(text, width)

    assert "".join("".join(lines).split()) == "".join(text.split())
    for limited in (lines, wrap(text, width, most=most)):
        assert all(cell_len(line) <= width for line in limited)
    assert len(wrap(text, width, most=most)) <= most


def test_lines_break_between_words_and_the_last_one_allowed_says_that_more_follows() -> None:
    text = "homelab is not connected: start the client, or look at its log."

    assert wrap(text, 30) == ["homelab is not connected:", "  start the client, or look at", "  its log."]
    assert wrap(text, 30, most=2) == ["homelab is not connected:", "  start the client, or look a…"]
    assert wrap(text, 30, most=1) == ["homelab is not connected: sta…"]
    assert wrap("/a/very/long/path/to/gateway.yaml", 16) == ["/a/very/long/pat", "  h/to/gateway.y", "  aml"]


@given(st.floats(0, 9e17))
def test_an_amount_of_bytes_takes_five_cells_at_most(count: float) -> None:
    assert len(amount(count)) <= 5


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (1, "1B"),
        (999, "999B"),
        (1000, "1.0kB"),
        (9_949, "9.9kB"),
        (9_950, "10kB"),
        (999_499, "999kB"),
        (999_500, "1.0MB"),
        (34_000_000, "34MB"),
        (5e15, "5.0PB"),
    ],
)
def test_bytes_are_counted_in_decimal_units(count: float, text: str) -> None:
    assert amount(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m 0s"), (8_040, "2h 14m"), (273_600, "3d 4h")],
)
def test_a_duration_is_told_by_its_two_largest_units(seconds: float, text: str) -> None:
    assert span(timedelta(seconds=seconds)) == text


def test_padding_counts_cells_and_not_characters() -> None:
    assert pad("ブログ", 8) == "ブログ  "
    assert pad("12", 4, right=True) == "  12"


def test_one_of_a_kind_is_singular() -> None:
    assert [counted(count, "tunnel") for count in (0, 1, 2)] == ["0 tunnels", "1 tunnel", "2 tunnels"]
