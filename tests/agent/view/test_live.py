"""The status on the whole screen."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable

import anyio
import pytest
from anyio import to_thread
from rich.console import Console

from agent.view.live import show_live
from schemas.status import AgentStatus
from tests.support import statuses

pytestmark = pytest.mark.anyio

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


def terminal(width: int = 80, height: int = 24) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=True, width=width, height=height, color_system=None), out


class Asked:
    """Gives a status, and does something when it is asked for the n-th time."""

    def __init__(self, times: int, then: Callable[[], None]) -> None:
        self.count = 0
        self._times = times
        self._then = then

    def __call__(self) -> AgentStatus:
        self.count += 1
        if self.count == self._times:
            self._then()
        return statuses.three()


def both(first: Asked, second: Asked) -> Callable[[], AgentStatus]:
    def get_status() -> AgentStatus:
        first()
        return second()

    return get_status


def assert_left_clean(written: str) -> None:
    assert written.index(ENTER) < written.rindex(LEAVE)
    assert written.rindex(HIDE_CURSOR) < written.rindex(SHOW_CURSOR)


async def test_it_draws_again_and_again_until_cancelled_and_leaves_the_terminal_as_it_was() -> None:
    console, out = terminal()
    with anyio.CancelScope() as scope:
        await show_live(Asked(4, scope.cancel), console, interval=0)

    assert out.getvalue().count("TUNNEL") >= 2
    assert_left_clean(out.getvalue())


async def test_what_prepares_a_status_is_done_before_each() -> None:
    console, _ = terminal()
    asked: list[str] = []
    ask = Asked(4, lambda: scope.cancel())

    async def prepare() -> None:
        asked.append("prepared")

    def status() -> AgentStatus:
        asked.append("asked")
        return ask()

    with anyio.CancelScope() as scope:
        await show_live(status, console, prepare=prepare, interval=0)

    assert asked[:4] == ["prepared", "asked"] * 2


async def test_an_exception_leaves_the_terminal_as_it_was() -> None:
    console, out = terminal()

    def fail() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        await show_live(Asked(3, fail), console, interval=0)

    assert_left_clean(out.getvalue())


async def test_a_frame_has_the_size_that_the_terminal_has_now() -> None:
    console, out = terminal(width=80)

    def widen() -> None:
        console.width = 120

    with anyio.CancelScope() as scope:
        second = Asked(2, widen)
        await show_live(both(second, Asked(4, scope.cancel)), console, footer=lambda: ("Ctrl-C",), interval=0)

    first_frame = out.getvalue().split("Ctrl-C")[0]
    assert "*.blog.example.com" not in first_frame  # there is no room for it in 80 columns
    assert "*.blog.example.com" in out.getvalue()


async def test_the_footer_is_asked_for_with_every_frame() -> None:
    console, out = terminal()
    frames = iter(f"frame {number}" for number in range(100))
    with anyio.CancelScope() as scope:
        await show_live(Asked(5, scope.cancel), console, footer=lambda: (next(frames),), interval=0)

    assert "frame 1" in out.getvalue()
    assert "frame 2" in out.getvalue()


async def test_a_terminal_that_does_not_read_delays_nothing_but_the_drawing() -> None:
    stuck, free = threading.Event(), threading.Event()

    class Terminal(io.StringIO):
        def write(self, text: str) -> int:
            if "gw1" in text:
                stuck.set()
                free.wait()
            return super().write(text)

    console = Console(file=Terminal(), force_terminal=True, width=80, height=24)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(show_live, statuses.three, console)
        await to_thread.run_sync(stuck.wait)  # the event loop turns, although the drawing hangs
        free.set()
        tasks.cancel_scope.cancel()


async def test_the_screen_is_filled_to_its_last_line_and_no_further() -> None:
    console, out = terminal(height=24)
    with anyio.CancelScope() as scope:
        await show_live(Asked(3, scope.cancel), console, footer=lambda: ("the end",), interval=0)

    frame = next(frame for frame in out.getvalue().split("\x1b[H") if "TUNNEL" in frame)
    assert [index for index, line in enumerate(frame.split("\n")) if "the end" in line] == [23]
