"""Rows and columns on a terminal of any width."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from agent.view.cells import printable
from agent.view.table import Cell, Column, Worth, draw, draw_plain

COLUMNS = (
    Column(title="NAME", worth=Worth.ESSENTIAL, least=6),
    Column(title="ROUTE TO IT", short_title="ROUTE", good=10, least=6),
    Column(title="OPEN", is_numeric=True),
    Column(title="TOTAL", is_numeric=True, worth=Worth.NICE),
)
ROW = (Cell(text="a-long-name"), Cell(text="a-long-route-to-it"), Cell(text="12"), Cell(text="3456"))


def lines(width: int) -> list[str]:
    return [line.plain for line in draw(COLUMNS, [ROW], width=width)]


def test_all_is_shown_whole_where_it_fits() -> None:
    assert lines(43) == [
        "NAME         ROUTE TO IT         OPEN TOTAL",
        "a-long-name  a-long-route-to-it    12  3456",
    ]


def test_what_is_nice_goes_first() -> None:
    assert lines(42) == ["NAME         ROUTE TO IT         OPEN", "a-long-name  a-long-route-to-it    12"]


def test_what_is_fair_goes_before_others_lose_what_is_good_for_them() -> None:
    columns = (*COLUMNS[:3], Column(title="FAIR", is_numeric=True, worth=Worth.FAIR))

    def drawn(width: int) -> str:
        return draw(columns, [ROW], width=width)[1].plain

    assert drawn(42) == "a-long-name  a-long-route-to-it    12 3456"
    assert drawn(29) == "a-lo…e  a-long…-it    12 3456"
    assert drawn(28) == "a-long…ame  a-long…-it    12"


def test_then_the_widest_shrinks_and_its_title_with_it() -> None:
    assert lines(31) == ["NAME         ROUTE TO IT   OPEN", "a-long-name  a-long-r…-it    12"]
    assert lines(27) == ["NAME       ROUTE       OPEN", "a-long…me  a-long…-it    12"]


def test_a_column_keeps_what_is_good_for_it_while_others_have_more_than_their_least() -> None:
    assert lines(24) == ["NAME    ROUTE       OPEN", "a-lo…e  a-long…-it    12"]


def test_then_the_useful_go_from_the_right() -> None:
    assert lines(18) == ["NAME    ROUTE", "a-lo…e  a-long…-it"]


def test_the_essential_stays_on_a_terminal_too_narrow_for_it() -> None:
    assert lines(4) == ["NAME", "a-…e"]


def test_for_programs_all_is_whole_and_columns_are_two_spaces_apart() -> None:
    row = (Cell(text="x"), Cell(text="a, b → c", plain="a,b -> c"), Cell(text="1"), Cell(text="2"))

    assert [line.plain for line in draw_plain(COLUMNS, [row])] == [
        "NAME  ROUTE TO IT  OPEN  TOTAL",
        "x     a,b -> c        1      2",
    ]


def test_a_table_without_rows_is_its_titles() -> None:
    assert [line.plain for line in draw(COLUMNS, [], width=80)] == ["NAME  ROUTE TO IT  OPEN TOTAL"]


@given(st.lists(st.tuples(*[st.text(max_size=20)] * 4), max_size=4), st.integers(13, 90))
def test_every_row_is_one_line_within_the_width(texts: list[tuple[str, ...]], width: int) -> None:
    rows = [[Cell(text=printable(text)[:9]) for text in row] for row in texts]

    drawn = draw(COLUMNS, rows, width=width)

    assert len(drawn) == len(rows) + 1
    assert all(cell_len(line.plain) <= width for line in drawn)
