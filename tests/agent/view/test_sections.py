"""The parts of a status on a screen."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from agent.view.sections import Entry, Section, plain_lines, table_lines, trouble_lines
from agent.view.table import Cell, Column, Worth

AWAY = "homelab is not connected: start the client, or look at its log."


def section(*entries: Entry, has_messages: bool = True) -> Section:
    return Section(
        columns=(Column(title="NAME", worth=Worth.ESSENTIAL),),
        entries=entries,
        fine="Ready",
        empty="Nothing is declared.",
        has_messages=has_messages,
    )


def entry(name: str, trouble: str = "", heat: float = 0.0) -> Entry:
    return Entry(name=name, cells=lambda: (Cell(text=name),), is_fine=not trouble, trouble=trouble, heat=heat)


def table(found: Section, room: int | None) -> list[str]:
    return [line.plain for line in table_lines(found, width=60, room=room)]


def troubles(found: Section, room: int | None = None, width: int = 60) -> list[str]:
    return [line.plain for line in trouble_lines(found, width=width, room=room)]


def test_entries_keep_their_order_where_there_is_room() -> None:
    assert table(section(entry("b"), entry("a", AWAY), entry("c", heat=9)), 4) == ["NAME", "b", "a", "c"]


def test_where_there_is_none_trouble_comes_first_and_then_the_busiest() -> None:
    found = section(entry("b"), entry("a", AWAY), entry("c", heat=9), entry("d"))

    assert table(found, 4) == ["NAME", "a", "c", "… 2 more, all Ready"]


def test_the_rest_says_how_many_of_it_are_in_trouble() -> None:
    found = section(*(entry(name, AWAY) for name in "abcd"))

    assert table(found, 3) == ["NAME", "a", "… 3 more, 3 of them not Ready"]


@given(st.integers(0, 12), st.integers(3, 12))
def test_a_table_never_takes_more_than_its_room(count: int, room: int) -> None:
    lines = table(section(*(entry(f"t{at}") for at in range(count))), room)

    assert len(lines) <= room


def test_an_empty_table_is_a_sentence() -> None:
    assert table(section(), None) == ["Nothing is declared."]
    assert [line.plain for line in plain_lines(section())] == ["Nothing is declared."]


def test_the_same_trouble_is_told_once_with_all_whom_it_concerns() -> None:
    def told(names: Sequence[str]) -> list[str]:
        return troubles(section(*(entry(name, "it rains.") for name in names)))

    assert told(["blog"]) == ["blog: it rains."]
    assert told(["blog", "mail", "ssh"]) == ["blog, mail, ssh: it rains."]
    assert told(["a", "b", "c", "d", "e"]) == ["a, b and 3 more: it rains."]


def test_a_message_that_begins_with_the_name_is_not_given_it_again() -> None:
    assert troubles(section(entry("gw1:9056", "gw1:9056 does not answer."))) == ["gw1:9056 does not answer."]


def test_troubles_beyond_the_room_are_counted() -> None:
    found = section(*(entry(name, f"it rains on {name}.") for name in "abcd"))

    assert troubles(found, room=3) == ["a: it rains on a.", "b: it rains on b.", "… 2 more problems"]
    assert troubles(found, room=1) == ["… 4 problems"]
    assert troubles(found, room=0) == []


def test_where_room_is_short_a_trouble_takes_two_lines_at_most() -> None:
    found = section(entry("ssh", AWAY))

    assert troubles(found, width=30) == [
        "ssh: homelab is not connected:",
        "  start the client, or look at",
        "  its log.",
    ]
    assert troubles(found, width=30, room=2) == [
        "ssh: homelab is not connected:",
        "  start the client, or look a…",
    ]
    assert troubles(found, width=30, room=3) == troubles(found, width=30)


def test_for_programs_the_message_ends_the_line() -> None:
    lines = [line.plain for line in plain_lines(section(entry("a"), entry("b", "it rains.")))]

    assert lines == ["NAME  MESSAGE", "a     -", "b     it rains."]


def test_a_section_that_has_no_messages_has_no_column_for_them() -> None:
    assert [line.plain for line in plain_lines(section(entry("a"), has_messages=False))] == ["NAME", "a"]
