"""Texts that fit a terminal.

Rule: whatever is drawn has passed through here, so that no text from outside (a
client's software, a hostname, a message) can move the cursor, color the screen or
push its neighbors aside. Widths are terminal cells: a wide character takes two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from rich.cells import cell_len

from agent.reports import counted as counted

ELLIPSIS: Final = "…"

_BOTH_ENDS: Final = 12  # in fewer cells the end of a name says less than the start that it costs

# Decimal, as network rates are everywhere, and at most five cells up to a petabyte.
_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")


def printable(text: str) -> str:
    """The text on one line, with whatever a terminal would obey or hide written as an escape.

    That covers control characters and also direction overrides and zero-width
    characters, with which one name can be made to look like another.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return " " if char in "\n\t" else char.encode("unicode_escape").decode("ascii")


def pad(text: str, width: int, *, right: bool = False) -> str:
    """The text with spaces up to ``width``, after it or, if ``right``, before it."""
    space = " " * (width - cell_len(text))
    return space + text if right else text + space


def elide(text: str, width: int) -> str:
    """At most ``width`` cells of the text. What is left out is its middle: both ends tell names apart.

    The start gets twice as much as the end, since hostnames begin with what is their own.
    """
    if cell_len(text) <= width:
        return text
    if width < 2:
        return ELLIPSIS[:width]
    tail = _last(text, (width - 1) // 3)
    return _first(text, width - 1 - cell_len(tail)) + ELLIPSIS + tail


def elide_end(text: str, width: int) -> str:
    """At most ``width`` cells of the text, from its start."""
    if cell_len(text) <= width:
        return text
    return _first(text, width - 1).rstrip() + ELLIPSIS if width > 0 else ""


def fold(names: Sequence[str], width: int) -> str:
    """All the names if they fit, or else the first and how many more there are: ``blog.example.com +3``."""
    text = ", ".join(names)
    if len(names) < 2 or cell_len(text) <= width:
        return elide(text, width)
    more = f" +{len(names) - 1}"
    room = width - len(more)
    if room < 2:
        return elide(text, width)
    return (elide_end(names[0], room) if room < _BOTH_ENDS else elide(names[0], room)) + more


def wrap(text: str, width: int, *, most: int | None = None, indent: str = "  ") -> list[str]:
    """The text in lines of at most ``width`` cells; all but the first are indented.

    :param most: how many lines there may be; the last one then ends in an ellipsis.
    """
    lines = list(_wrapped(text.split(), max(width, len(indent) + 2), indent))
    if most is None or len(lines) <= most:
        return lines
    rest = " ".join(line.strip() for line in lines[most - 1 :])
    return [*lines[: most - 1], elide_end((indent if most > 1 else "") + rest, width)]


def _wrapped(words: Sequence[str], width: int, indent: str) -> Iterator[str]:
    line, is_empty = "", True
    for word in words:
        candidate = line + word if is_empty else f"{line} {word}"
        if cell_len(candidate) <= width:
            line, is_empty = candidate, False
            continue
        if not is_empty:
            yield line
        line = (indent if not is_empty or line else "") + word
        while cell_len(line) > width:  # a word longer than a line, for example a path
            start = _first(line, width)
            yield start
            line = indent + line[len(start) :]
        is_empty = False
    if not is_empty:
        yield line


def amount(count: float) -> str:
    """A number of bytes in at most five cells: ``0B``, ``999B``, ``1.2kB``, ``34MB``."""
    for unit in _UNITS:
        if count < 9.95 and unit != "B":
            return f"{count:.1f}{unit}"
        if count < 999.5:
            return f"{count:.0f}{unit}"
        count /= 1000
    return f"{count * 1000:.0f}{_UNITS[-1]}"


def span(duration: timedelta) -> str:
    """A duration by its two largest units: ``12s``, ``5m 3s``, ``2h 14m``. Less than nothing is ``0s``."""
    seconds = max(0, int(duration.total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s")]
    while len(parts) > 1 and parts[0][0] == 0:
        parts.pop(0)
    return " ".join(f"{number}{unit}" for number, unit in parts[:2])


def _first(text: str, width: int) -> str:
    """The longest start of the text that takes at most ``width`` cells."""
    start = text[: _fitting(text, width)]
    while cell_len(start) > width:  # neighbors that form one emoji can be wider than each by itself
        start = start[:-1]
    return start


def _last(text: str, width: int) -> str:
    end = text[len(text) - _fitting(text[::-1], width) :]
    while cell_len(end) > width:
        end = end[1:]
    return end


def _fitting(text: str, width: int) -> int:
    """How many characters from the start fit, taken one by one."""
    used = 0
    for index, char in enumerate(text):
        used += cell_len(char)
        if used > width:
            return index
    return len(text)
