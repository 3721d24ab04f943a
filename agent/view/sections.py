"""The parts of a status on a screen: a table of entries, and what is wrong with some of them.

Rule: what needs somebody's attention is never what falls off the screen. Where the
room suffices, entries keep the order of the state file, so that no row jumps about;
where it does not, those that are not fine come first, then the busiest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text

from .cells import counted, elide_end, wrap
from .table import Cell, Column, Worth, draw, draw_plain

_MESSAGE = Column(title="MESSAGE", worth=Worth.ESSENTIAL)
_NAMED = 3  # names before a shared message; the rest are counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row. ``trouble`` is what is wrong in a sentence, "" if there is nothing to say.

    Its cells are made when it is shown: of thousands of entries few are.
    """

    name: str
    cells: Callable[[], tuple[Cell, ...]]
    is_fine: bool
    trouble: str = ""
    heat: float = 0.0  # how busy it is, compared with other entries only


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A table and what there is to say about its entries."""

    columns: tuple[Column, ...]
    entries: tuple[Entry, ...]
    fine: str  # the word for entries that are fine: "Ready"
    empty: str  # what to say when there are no entries
    has_messages: bool = True  # whether its entries can be in trouble


def plain_lines(section: Section) -> list[Text]:
    """The whole section for a program or a pipe: one line an entry, with its message at the end."""
    if not section.entries:
        return [Text(section.empty)]
    if not section.has_messages:
        return draw_plain(section.columns, [entry.cells() for entry in section.entries])
    rows = [(*entry.cells(), Cell(text=entry.trouble or "-")) for entry in section.entries]
    return draw_plain((*section.columns, _MESSAGE), rows)


def table_height(section: Section) -> int:
    """The lines that the table takes where there is room for all of it."""
    return 1 + len(section.entries)  # without entries it is the one sentence that says so


def table_lines(section: Section, *, width: int, room: int | None = None) -> list[Text]:
    """The table in at most ``room`` lines; ``None`` is as many as it takes."""
    if not section.entries:
        return [Text(elide_end(section.empty, width), style="dim")]
    shown, rest = _chosen(section.entries, room)
    lines = draw(section.columns, [entry.cells() for entry in shown], width=width)
    if rest:
        lines.append(Text(elide_end(_left_over(rest, section.fine), width), style="dim"))
    return lines


def trouble_lines(section: Section, *, width: int, room: int | None = None) -> list[Text]:
    """What is wrong, one paragraph for all entries of which the same is said, in at most ``room`` lines."""
    if room is not None and room < 1:
        return []
    groups: dict[str, list[str]] = {}
    for entry in section.entries:
        if entry.trouble:
            groups.setdefault(entry.trouble, []).append(entry.name)
    paragraphs = [_paragraph(names, message) for message, names in groups.items()]
    whole = [line for paragraph in paragraphs for line in wrap(paragraph, width)]
    if room is None or len(whole) <= room:
        return [Text(line) for line in whole]
    # Where room is short, two lines suffice to say what the matter is.
    blocks = [wrap(paragraph, width, most=2) for paragraph in paragraphs]
    lines = [line for block in blocks for line in block]
    if len(lines) <= room:
        return [Text(line) for line in lines]
    told = 0
    lines = []
    while len(lines) + len(blocks[told]) < room:
        lines += blocks[told]
        told += 1
    rest = counted(len(blocks) - told, "more problem" if told else "problem")
    return [Text(line) for line in (*lines, elide_end(f"… {rest}", width))]


def _chosen(entries: Sequence[Entry], room: int | None) -> tuple[Sequence[Entry], Sequence[Entry]]:
    if room is None or len(entries) <= room - 1:  # the titles take a line
        return entries, ()
    ranked = sorted(entries, key=lambda entry: (entry.is_fine, -entry.heat))
    kept = max(1, room - 2)  # and so does the one that counts the rest
    return ranked[:kept], ranked[kept:]


def _left_over(rest: Sequence[Entry], fine: str) -> str:
    others = sum(1 for entry in rest if not entry.is_fine)
    if not others:
        return f"… {len(rest)} more, all {fine}"
    return f"… {len(rest)} more, {others} of them not {fine}"


def _paragraph(names: Sequence[str], message: str) -> str:
    if len(names) == 1 and message.startswith(names[0]):
        return message
    return f"{_listed(names)}: {message}"


def _listed(names: Sequence[str]) -> str:
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{', '.join(names[: _NAMED - 1])} and {len(names) - _NAMED + 1} more"
