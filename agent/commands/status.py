"""``tidegate status``: asking a running agent, once or again and again.

Rule: an agent that does not answer is an error when asked once, and news when
watched: whoever watches wants to see it come back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import anyio
from rich.console import Console

from agent.api.client import AgentUnreachableError, fetch_status
from agent.process.loops import run
from agent.process.signals import INTERRUPTED, run_until_stopped
from agent.view.live import REFRESH_INTERVAL, show_live
from agent.view.status import StatusView
from schemas.status import AgentStatus

from .finding import found_agent

_PRINT_INTERVAL: Final = 2.0  # where each status is a page or a line of its own

_Ask: TypeAlias = Callable[[], Awaitable[AgentStatus]]


def run_status(state: Path | None, *, socket: Path | None, watch: bool, as_json: bool) -> int:
    """The command.

    :returns: the exit status.
    :raises TidegateError: if there is no agent to be found, or it does not answer.
    """
    ask = _asking(state, socket)
    console = Console()
    if not watch:
        _print(run(ask), console, as_json=as_json, indent=2)
        return 0
    if as_json or not console.is_terminal or console.is_dumb_terminal:
        main = partial(_print_again_and_again, ask, console, as_json=as_json)
    else:
        main = partial(_show, ask, console)
    status = run(partial(run_until_stopped, main, on_hangup=None))
    return 0 if status == INTERRUPTED else status  # Ctrl-C is how one leaves


def _asking(state: Path | None, socket: Path | None) -> _Ask:
    agent = found_agent(state, socket)
    return partial(fetch_status, agent.socket, start=agent.start)


def _print(status: AgentStatus, console: Console, *, as_json: bool, indent: int | None) -> None:
    if as_json:
        print(status.model_dump_json(indent=indent), flush=True)
    else:
        # Without a terminal lines are as long as they are; Rich would fold them at 80 columns.
        console.print(StatusView(status=status), soft_wrap=not console.is_terminal)


async def _print_again_and_again(ask: _Ask, console: Console, *, as_json: bool) -> None:
    while True:
        _print(await ask(), console, as_json=as_json, indent=None)
        if not as_json:
            print(flush=True)
        await anyio.sleep(_PRINT_INTERVAL)


async def _show(ask: _Ask, console: Console) -> None:
    latest = await ask()
    silence = ""

    async def keep_asking() -> None:
        nonlocal latest, silence
        while True:
            await anyio.sleep(REFRESH_INTERVAL)
            try:
                latest = await ask()
                silence = ""
            except AgentUnreachableError as error:
                silence = str(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep_asking)
        await show_live(
            lambda: latest,
            console,
            silence=lambda: silence,
            footer=lambda: ("Ctrl-C leaves the agent running.",),
        )
