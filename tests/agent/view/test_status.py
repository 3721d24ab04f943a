"""What a person sees: whole screens, kept as text in ``screens/``, and what holds for every screen.

After a change of the looks: ``TIDEGATE_REDRAW=1 pytest tests/agent/view/test_status.py``, then read the diff.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from agent.view.rates import Rate
from agent.view.status import StatusView
from schemas.status import AgentStatus, ClientAgentStatus, GatewayStatus
from tests.support import statuses

SCREENS: Final = Path(__file__).parent / "screens"
FOOTER: Final = ("Ctrl-C stops the gateway; the state file stays as it is.",)

STATUSES: Final[Mapping[str, Callable[[], AgentStatus]]] = {
    "three": statuses.three,
    "many": statuses.many,
    "hostile": statuses.hostile,
    "empty": statuses.gateway,
    "spread": statuses.spread,
    "pairs": statuses.pairs,
    "client": statuses.client,
    "client-reaching": statuses.reaching_client,
    "client-spread": statuses.spread_client,
    "client-away": lambda: statuses.client(connected=False),
    "client-busy": lambda: busy_client(7),
}


def busy_client(count: int) -> ClientAgentStatus:
    """A client with so many services."""
    status = statuses.client()
    web = status.services[-1]
    services = tuple(web.model_copy(update={"name": f"service-{index:02}"}) for index in range(count))
    return status.model_copy(update={"services": services})


def rates(status: AgentStatus) -> Mapping[str, Rate]:
    """Made-up rates: the further down, the busier."""
    match status:
        case GatewayStatus():
            names = [tunnel.name for tunnel in status.tunnels]
        case ClientAgentStatus():
            names = [service.name for service in status.services]
    return {name: Rate(bytes_in=1234.0 * at, bytes_out=34.0 * at**3) for at, name in enumerate(names)}


def screen(status: AgentStatus, *, width: int | None, height: int | None = None) -> str:
    """The screen as text: live if it has a height."""
    view = StatusView(
        status=status,
        rates=None if height is None else rates(status),
        footer=() if height is None else FOOTER,
    )
    return "\n".join(line.plain for line in view.lines(width=width, height=height))


@pytest.mark.parametrize(
    ("name", "width", "height"),
    [
        ("three", 80, None),
        ("three", 80, 24),
        ("three", 120, None),
        ("three", None, None),
        ("many", 80, 24),
        ("many", 200, 50),
        ("hostile", 80, 24),
        ("hostile", 120, None),
        ("hostile", None, None),
        ("empty", 80, None),
        ("spread", 80, None),
        ("spread", None, None),
        ("client-spread", 80, 24),
        ("client-spread", None, None),
        ("pairs", 80, 24),
        ("pairs", 90, 24),
        ("client-reaching", 80, 24),
        ("client-reaching", 80, 16),
        ("client", 80, None),
        ("client", 120, 24),
        ("client", None, None),
        ("client-away", 80, 24),
        ("client-busy", 80, 24),
    ],
)
def test_a_screen_looks_as_it_was_approved(name: str, width: int | None, height: int | None) -> None:
    file = (
        SCREENS / f"{name}-{'plain' if width is None else width}{'' if height is None else f'x{height}'}.txt"
    )
    drawn = screen(STATUSES[name](), width=width, height=height) + "\n"
    if os.environ.get("TIDEGATE_REDRAW"):
        file.write_text(drawn, encoding="utf-8")

    assert file.read_text(encoding="utf-8") == drawn


@given(st.sampled_from(sorted(STATUSES)), st.integers(20, 220), st.one_of(st.none(), st.integers(8, 60)))
def test_no_line_leaves_the_screen_whatever_its_size(name: str, width: int, height: int | None) -> None:
    lines = screen(STATUSES[name](), width=width, height=height).split("\n")

    assert max(map(cell_len, lines)) <= width
    if height is not None:
        assert len(lines) == height


@given(st.text(max_size=30), st.integers(20, 120))
def test_no_text_from_outside_reaches_the_terminal_as_a_command(text: str, width: int) -> None:
    status = statuses.gateway(
        statuses.tunnel(
            text or "x", text, hostname=[text], client=[text], service=text, trouble=(text, text)
        ),
        clients=[statuses.session(text).model_copy(update={"software": text, "address": text})],
        state=statuses.source(path=text, problems=1),
        name=text,
    )

    for size in (width, None):
        assert all(line.isprintable() for line in screen(status, width=size).split("\n"))


def test_markup_in_a_name_is_shown_and_not_obeyed() -> None:
    out = io.StringIO()
    status = statuses.gateway(statuses.tunnel("[bold red]x[/]"))

    Console(file=out, force_terminal=True, width=80, color_system="truecolor").print(
        StatusView(status=status)
    )

    assert "[bold red]x[/]" in out.getvalue()


def test_color_says_nothing_that_a_word_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    colored, bare = io.StringIO(), io.StringIO()
    view = StatusView(status=statuses.three())

    Console(file=colored, force_terminal=True, width=80, color_system="truecolor").print(view)
    monkeypatch.setenv("NO_COLOR", "1")
    Console(file=bare, force_terminal=True, width=80, color_system="truecolor").print(view)

    assert "\x1b[31m" in colored.getvalue()
    assert "\x1b[31m" not in bare.getvalue()
    assert "Client away" in bare.getvalue()


def test_without_a_terminal_every_tunnel_is_one_line_with_its_reason() -> None:
    out = io.StringIO()

    Console(file=out, width=80).print(StatusView(status=statuses.three()), soft_wrap=True)

    (line,) = [line for line in out.getvalue().splitlines() if line.startswith("ssh ")]
    assert line.endswith("homelab is not connected: start the client, or look at its log.")
    assert "homelab -> ssh" in line
    assert "\x1b" not in out.getvalue()


def test_a_small_screen_shows_what_is_not_ready_first_then_the_busiest_and_counts_the_rest() -> None:
    lines = screen(statuses.many(), width=80, height=24).split("\n")
    names = [line.split()[0] for line in lines if line.startswith(("site-0", "site-1"))]

    assert names[:4] == ["site-180", "site-017", "site-199", "site-198"]
    assert any(line.endswith("more, all Ready") for line in lines)


def test_the_rest_says_how_many_of_it_are_not_ready() -> None:
    lines = screen(statuses.many(troubled=range(150)), width=80, height=24).split("\n")

    assert any(line.endswith("of them not Ready") for line in lines)


def test_a_screen_with_room_keeps_the_order_of_the_state_file() -> None:
    lines = screen(statuses.three(), width=80, height=24).split("\n")

    assert [line.split()[0] for line in lines[3:6]] == ["blog", "mail", "ssh"]


def names_shown(lines: Sequence[str], names: Sequence[str]) -> list[str]:
    return [name for line in lines for name in names if line.startswith(f"{name} ")]


@pytest.mark.parametrize("count", [7, 12])
def test_the_services_of_a_client_take_the_room_that_its_gateways_leave(count: int) -> None:
    names = [f"service-{index:02}" for index in range(count)]
    lines = screen(busy_client(count), width=80, height=24).split("\n")

    assert names_shown(lines, names) == names


@given(st.integers(0, 40), st.integers(14, 60))
def test_no_row_is_hidden_while_a_line_is_empty_that_it_could_have(count: int, height: int) -> None:
    lines = screen(busy_client(count), width=80, height=height).split("\n")
    hides = any(line.startswith("… ") for line in lines)

    assert not (hides and any(not above and not below for above, below in pairwise(lines)))


def test_what_is_wrong_is_told_in_full_where_there_is_room() -> None:
    message = "gw2.example.com:9056 " + "said something long " * 15 + "and that is the end."
    status = statuses.client()
    links = tuple(link.model_copy(update={"message": message}) for link in status.links)
    text = screen(status.model_copy(update={"links": links}), width=80, height=24)

    assert " ".join(text.split()).count(message) == 1


def test_a_silence_and_a_log_line_are_folded_where_there_is_room_and_cut_where_there_is_none() -> None:
    silence, logged = "old " * 60 + "silence ends.", "logged " * 30 + "log ends."

    def drawn(height: int) -> str:
        view = StatusView(status=statuses.client(), rates={}, silence=silence, footer=(logged, *FOOTER))
        lines = view.lines(width=80, height=height)
        assert len(lines) == height
        return "\n".join(line.plain for line in lines)

    assert "silence ends." in drawn(24)
    assert "log ends." in drawn(24)
    assert "silence ends." not in drawn(14)
    assert "log ends." not in drawn(14)
    assert FOOTER[0] in drawn(14)


@pytest.mark.parametrize("width", [None, 80])
def test_of_an_agent_that_does_not_answer_nobody_says_that_it_is_ready_or_up(width: int | None) -> None:
    view = StatusView(status=statuses.gateway(), silence="no agent runs at x: start it.")
    head, reason = [line.plain for line in view.lines(width=width)][:2]

    assert "No answer" in head
    assert "Ready" not in head
    assert " up " not in head
    assert reason == "What is shown is old: no agent runs at x: start it."


def test_at_most_three_problems_are_shown_and_a_command_for_the_others() -> None:
    status = statuses.gateway(state=statuses.source(path="my gateway.yaml", problems=10))

    text = screen(status, width=120)

    assert text.count("did you mean") == 3
    assert "and 7 more: tidegate check 'my gateway.yaml'" in text
    assert screen(status, width=None).count("did you mean") == 10


@pytest.mark.parametrize(
    ("generation", "observed", "words"),
    [
        (0, 0, "no valid state yet"),
        (1, 0, "generation 1 pending"),
        (3, 3, "generation 3 in force"),
        (4, 3, "generation 3 in force, 4 pending"),
    ],
)
def test_the_headline_says_which_generation_is_in_force(generation: int, observed: int, words: str) -> None:
    status = statuses.gateway(state=statuses.source(generation=generation, observed=observed))

    assert words in screen(status, width=120).split("\n")[0]


def test_the_client_that_serves_stands_first() -> None:
    status = statuses.gateway(statuses.tunnel("blog", client=["homelab", "office"], serving="office"))

    assert "office, homelab → web" in screen(status, width=120)
