"""What a person sees of a running agent.

Rule: a view is a function of one status, the rates and the size of the page, and
of nothing else. On a terminal it fits the page, and color only repeats what a word
says. Without one it is plain text for pipes: nothing is left out or shortened, one
entry is one line with its reason at the end, and an empty cell is "-".
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from schemas.status import AgentStatus, ClientAgentStatus, GatewayStatus, SourceStatus

from .cells import counted, elide_end, printable, wrap
from .own_tunnels import own_tunnels
from .rates import Rate
from .sections import Section, plain_lines, table_height, table_lines, trouble_lines
from .status_parts import BAD, clients, failures, headline, links, services, tunnels

_PROBLEMS_SHOWN: Final = 3
_SMALLEST_TABLE: Final = 3  # lines: the titles, an entry, and how many more there are
_GAPS: Final = 4  # empty lines of a page: before each table, the notes and the foot


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusView:
    """A status as a Rich renderable.

    :param rates: bytes a second by name; None shows totals in their place.
    :param silence: why the agent does not answer, so that the status is an old one; "" if it does.
    :param footer: lines for the end of the page.
    :param fills_screen: whether it takes exactly the height of the terminal; otherwise what it needs.
    """

    status: AgentStatus
    rates: Mapping[str, Rate] | None = None
    silence: str = ""
    footer: tuple[str, ...] = ()
    fills_screen: bool = False

    def lines(self, *, width: int | None = None, height: int | None = None) -> list[Text]:
        """The lines of the page, none longer than ``width`` and no more than ``height`` of them.

        Without a width it is the plain page, without a height it is as long as it needs to be.
        """
        sections = _sections(self.status, self.rates)
        more = own_tunnels(self.status)
        if width is None:
            return _plain_page(self.status, self.silence, (*sections, *more))
        head = _head(self.status, self.silence, width, most=None)
        if height is None:
            return _whole_page(head, (*sections, *more), self.footer, width)
        tables = sum(map(table_height, sections))
        if len(head) + tables + len(self.footer) + _GAPS > height:
            head = _head(self.status, self.silence, width, most=2)
        return _fitted_page(head, sections, more, self.footer, width, height)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.is_terminal:
            height = options.max_height if self.fills_screen else None
            yield Text("\n").join(self.lines(width=options.max_width, height=height))
        else:
            yield Text("\n").join(self.lines())


def _sections(status: AgentStatus, rates: Mapping[str, Rate] | None) -> tuple[Section, Section]:
    match status:
        case GatewayStatus():
            return tunnels(status, rates), clients(status)
        case ClientAgentStatus():
            return links(status), services(status, rates)
    assert_never(status)


def _plain_page(status: AgentStatus, silence: str, sections: Sequence[Section]) -> list[Text]:
    parts = [cell.text for cell in headline(status, is_old=bool(silence))]
    lines = [Text(", ".join((*parts, f"state file {printable(status.source.path)}")))]
    texts = (*_silence(silence), *_problems(status.source, most=None), *failures(status))
    lines += [Text(text) for text in texts]
    for section in sections:
        lines += [Text(), *plain_lines(section)]
    return lines


def _whole_page(
    head: Sequence[Text], sections: Sequence[Section], footer: Sequence[str], width: int
) -> list[Text]:
    lines = [*head]
    for section in sections:
        lines += [Text(), *table_lines(section, width=width)]
        lines += _after_a_gap(trouble_lines(section, width=width))
    return [*lines, *_after_a_gap(_foot(footer, width))]


def _fitted_page(
    head: Sequence[Text],
    sections: Sequence[Section],
    more: Sequence[Section],
    footer: Sequence[str],
    width: int,
    height: int,
) -> list[Text]:
    """The head, the foot, and between them what fits.

    Each section may take what the other leaves; where both want more, the first has two thirds. Whatever more
    there is gets what is left.
    """
    first, second = sections
    foot = _after_a_gap(_foot(footer, width))
    room = height - len(head) - len(foot) - 2
    spare = room - table_height(first) - table_height(second) - 1
    above = trouble_lines(first, width=width, room=max(room // 4, spare))
    below = trouble_lines(second, width=width, room=max(room // 6, spare - len(above)))
    notes = _after_a_gap([*above, *below])
    rest = room - len(notes)
    lower = table_lines(second, width=width, room=max(3, room // 3, rest - table_height(first)))
    upper = table_lines(first, width=width, room=max(3, rest - len(lower)))
    page = [*head, Text(), *upper, *notes, Text(), *lower][: height - len(foot)]
    for section in more:
        room = height - len(foot) - len(page) - 1
        notes = _after_a_gap(trouble_lines(section, width=width, room=room - table_height(section) - 1))
        if room - len(notes) >= _SMALLEST_TABLE:
            page += [Text(), *table_lines(section, width=width, room=room - len(notes)), *notes]
    foot = _unfolded(foot, footer, width, room=height - len(page))
    return [*page, *[Text()] * (height - len(page) - len(foot)), *foot]


def _silence(silence: str) -> list[str]:
    return [f"What is shown is old: {printable(silence)}"] if silence else []


def _head(status: AgentStatus, silence: str, width: int, *, most: int | None) -> list[Text]:
    texts = (*_silence(silence), *_problems(status.source, most=_PROBLEMS_SHOWN), *failures(status))
    return [
        _header(status, width, is_old=bool(silence)),
        *(Text(line, style=BAD) for text in texts for line in wrap(text, width, most=most)),
    ]


def _header(status: AgentStatus, width: int, *, is_old: bool) -> Text:
    """One line of as many parts as fit."""
    header = Text()
    for cell in headline(status, is_old=is_old):
        gap = " · " if header else ""
        if cell_len(header.plain + gap + cell.text) > width and header:
            break
        header.append(gap, "dim").append(elide_end(cell.text, width), cell.style)
    return header


def _problems(source: SourceStatus, *, most: int | None) -> list[str]:
    """The problems of the newest reading, and what that means for what runs."""
    if not source.problems:
        return []
    found = counted(len(source.problems), "problem")
    kept = f"generation {source.generation} stays" if source.generation else "nothing is in force"
    shown = source.problems[:most]
    lines = [
        f"The state file has {found} and is not used; {kept}.",
        *(printable(problem.text) for problem in shown),
    ]
    if len(shown) < len(source.problems):
        rest = len(source.problems) - len(shown)
        lines.append(f"and {rest} more: tidegate check {printable(shlex.quote(source.path))}")
    return lines


def _foot(footer: Sequence[str], width: int) -> list[Text]:
    return [Text(elide_end(printable(line), width), style="dim") for line in footer]


def _unfolded(foot: list[Text], footer: Sequence[str], width: int, *, room: int) -> list[Text]:
    """The foot with as many of its lines in full as there is room for, the last ones first: they are news."""
    spare = room - len(foot)
    lines: list[Text] = []
    for short, text in zip(reversed(foot), reversed(footer), strict=False):
        whole = wrap(printable(text), width)
        fits = len(whole) - 1 <= spare
        spare -= len(whole) - 1 if fits else 0
        lines = [*([Text(line, style="dim") for line in whole] if fits else [short]), *lines]
    return _after_a_gap(lines)


def _after_a_gap(lines: list[Text]) -> list[Text]:
    return [Text(), *lines] if lines else []
