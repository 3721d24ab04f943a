"""Rows and columns on a terminal of any width.

Rule: a row is one line, always. When the width does not suffice for everything,
columns that are only nice to have go first, then the widest ones shrink, then
useful ones go from the right; the essential ones stay whatever happens.
Fair is what others shrink for as long as they keep what is good for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise

from rich.cells import cell_len
from rich.text import Text

from .cells import elide, pad


class Worth(Enum):
    """What is given up for a column."""

    ESSENTIAL = auto()  # it is always shown
    USEFUL = auto()  # others shrink to make room for it
    FAIR = auto()  # shown if others keep what is good for them
    NICE = auto()  # shown if nothing has to shrink for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column.

    :param good: the cells that other columns leave it while they have more than they need.
    :param least: the cells below which it says nothing any more.
    """

    title: str
    worth: Worth = Worth.USEFUL
    good: int = 0
    least: int = 8
    is_numeric: bool = False  # aligned to the right, and never shortened
    short_title: str = ""  # for when the column has shrunk
    plain_title: str = ""  # for programs


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell. ``fit`` shortens its text to so many cells; ``plain`` is its spelling for programs."""

    text: str
    style: str = ""
    fit: Callable[[int], str] | None = None
    plain: str | None = None

    def fitted(self, width: int) -> str:
        return elide(self.text, width) if self.fit is None else self.fit(width)


def draw(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], *, width: int) -> list[Text]:
    """The titles and the rows, a line each, in ``width`` cells."""
    natural = _natural(columns, [[cell.text for cell in row] for row in rows])
    shown = _chosen(columns, natural, width)
    widths = _shrunk(columns, natural, shown, width)
    titles = [_title(column) for column in columns]
    return [_line(row, columns, shown, widths) for row in (titles, *rows)]


def draw_plain(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> list[Text]:
    """The titles and the rows, a line each, whole, with two spaces or more between columns."""
    titles = [column.plain_title or column.title for column in columns]
    texts = [titles, *([cell.plain or cell.text for cell in row] for row in rows)]
    natural = _natural(columns, texts)
    return [
        Text(
            "  ".join(
                pad(text, width, right=column.is_numeric)
                for text, width, column in zip(row, natural, columns, strict=True)
            ).rstrip()
        )
        for row in texts
    ]


def _natural(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    return [
        max(cell_len(column.title), *(cell_len(row[index]) for row in rows), 0)
        for index, column in enumerate(columns)
    ]


def _title(column: Column) -> Cell:
    short = column.short_title or column.title
    return Cell(
        text=column.title,
        style="bold",
        fit=lambda width: column.title if cell_len(column.title) <= width else elide(short, width),
    )


def _least(column: Column, natural: int) -> int:
    title = cell_len(column.short_title or column.title)
    return natural if column.is_numeric else min(natural, max(column.least, title))


def _good(column: Column, natural: int) -> int:
    return natural if column.is_numeric else min(natural, max(column.good, _least(column, natural)))


def _gaps(columns: Sequence[Column], shown: Sequence[int]) -> list[int]:
    """The spaces before each column shown. Figures stand closer together than words."""
    close = [columns[left].is_numeric and columns[right].is_numeric for left, right in pairwise(shown)]
    return [0, *(1 if is_close else 2 for is_close in close)]


def _sum(columns: Sequence[Column], shown: Sequence[int], widths: Callable[[int], int]) -> int:
    return sum(map(widths, shown)) + sum(_gaps(columns, shown))


def _chosen(columns: Sequence[Column], natural: Sequence[int], width: int) -> list[int]:
    shown = list(range(len(columns)))
    for index in _from_the_right(columns, Worth.NICE):
        if _sum(columns, shown, natural.__getitem__) > width:
            shown.remove(index)
    for index in _from_the_right(columns, Worth.FAIR):
        if _sum(columns, shown, lambda at: _good(columns[at], natural[at])) > width:
            shown.remove(index)
    for index in _from_the_right(columns, Worth.USEFUL):
        if _sum(columns, shown, lambda at: _least(columns[at], natural[at])) > width:
            shown.remove(index)
    return shown


def _from_the_right(columns: Sequence[Column], worth: Worth) -> Iterable[int]:
    return (index for index in reversed(range(len(columns))) if columns[index].worth is worth)


def _shrunk(
    columns: Sequence[Column], natural: Sequence[int], shown: Sequence[int], width: int
) -> dict[int, int]:
    widths = {index: natural[index] for index in shown}
    least = {index: _least(columns[index], natural[index]) for index in shown}
    good = {index: _good(columns[index], natural[index]) for index in shown}
    bare = dict.fromkeys(shown, 1)  # for a terminal too narrow even for what is essential
    for floor in (good, least, bare):
        while _sum(columns, shown, widths.__getitem__) > width:
            wide = [at for at in shown if widths[at] > floor[at] and not columns[at].is_numeric]
            if not wide:
                break
            widths[max(wide, key=widths.__getitem__)] -= 1
    return widths


def _line(
    row: Sequence[Cell], columns: Sequence[Column], shown: Sequence[int], widths: dict[int, int]
) -> Text:
    line = Text(no_wrap=True, overflow="ignore", end="")
    for index, gap in zip(shown, _gaps(columns, shown), strict=True):
        text = row[index].fitted(widths[index])
        # The style covers the text alone, so that an underline or a background would not fill the gap.
        space = " " * (widths[index] - cell_len(text))
        line.append(" " * gap)
        if columns[index].is_numeric:
            line.append(space).append(text, row[index].style or None)
        else:
            line.append(text, row[index].style or None).append(space)
    line.rstrip()
    return line
