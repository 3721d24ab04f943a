"""``tidegate gateway`` and ``tidegate client``: an agent in the foreground.

Rule: this file decides where log lines go and whether there is a live table; the
agent knows of neither. While the table has the terminal, log lines go to a file, to
a stderr that is redirected, or else the last few are shown under the table.

Rich is imported where there is a table, and of the two roles the one that runs: a
process keeps what it has imported for as long as it lives.
"""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TextIO, assert_never

import anyio
import structlog
from anyio.abc import TaskStatus

from agent.logs.choices import LogFormat, LogLevel
from agent.logs.pipeline import configured
from agent.process.inherited import Inherited
from agent.process.lifetime import Lifetime
from agent.process.loops import choose_loop, run
from agent.process.service_manager import ServiceManager, Told
from agent.process.signals import run_until_stopped
from agent.process.systemd import Notifier, take_service
from agent.view.tail import Tail
from reconcile.state_reader import StateReader, prepare_reading
from schemas.errors import StateError, TidegateError
from schemas.roles import Role
from schemas.status import AgentStatus

if TYPE_CHECKING:
    from rich.console import Console

# Leave the alternate screen, show the cursor: xterm's control sequences, which Rich uses as well.
_LEAVE_SCREEN: Final = b"\x1b[?1049l\x1b[?25h"

_HINT_WHILE_DRAINING: Final = (
    "Connections that are open may finish. Ctrl-C now drops them and ends it at once."
)

_log: Any = structlog.get_logger("agent")


class Agent(Told, Protocol):
    """What the two roles have in common. ``lifetime`` is asked to make it end."""

    @property
    def lifetime(self) -> Lifetime: ...

    async def catch_up(self) -> None:
        """Make the status quick."""
        ...

    def status(self) -> AgentStatus:
        """What it has to say of itself, once it has started."""
        ...

    def reload(self) -> object:
        """Look at the state file now."""
        ...

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until its lifetime is asked to end, or until cancelled."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """A terminal for the live table, and the log lines to show under it, if they have no other place."""

    console: Console
    tail: Tail | None
    hint: str


def run_role(
    role: str,
    state: Path,
    *,
    live: bool | None,
    log_format: LogFormat | None,
    log_level: LogLevel,
    log_file: Path | None,
    stock_loop: bool,
) -> int:
    """The commands ``gateway`` and ``client``.

    :returns: the exit status.
    :raises TidegateError: if the agent cannot start, or fails.
    """
    console = _console_for_table(live)
    prepared = prepare_reading()  # while there is one thread
    with ExitStack() as stack:
        if prepared is not None:
            stack.callback(prepared.end)
        stream: TextIO | None = None
        tail: Tail | None = None
        if log_file is not None:
            stream = stack.enter_context(_opened(log_file))
        elif console is not None and sys.stderr.isatty():
            stream = tail = Tail()
        if tail is not None:
            log_format = LogFormat.JSON  # the tail reads it
        stack.enter_context(configured(log_format=log_format, level=log_level, stream=stream))
        screen = None
        if console is not None:
            screen = Screen(
                console=console, tail=tail, hint=f"Ctrl-C stops the {role}; its state file stays as it is."
            )
        _log.info("loop_chosen", loop=choose_loop(stock_loop=stock_loop).value)
        service = take_service(os.environ)
        agent = _agent(state, service.sockets, StateReader(Role(role), prepared=prepared))
        manager = ServiceManager(service.notifier, watchdog=service.watchdog)
        try:
            return run(run_in_foreground, agent, screen, manager, stock_loop=stock_loop)
        except* StateError as errors:  # the agent runs in a task group
            raise _told_with_advice(errors, state, role) from errors


def _told_with_advice(errors: ExceptionGroup[StateError], state: Path, role: str) -> StateError:
    """What is wrong with the state that an agent could not start with, and what to do about it."""
    told = errors.exceptions[0]
    while isinstance(told, ExceptionGroup):
        told = told.exceptions[0]
    return StateError(told.problems, advice=_advice(state, role))


def _advice(state: Path, role: str) -> str:
    from agent.offline import find_agent
    from reconcile.history import list_generations  # no agent runs that would keep it

    mend = "mend it, then try again"
    try:
        agent = find_agent(state)
        if agent.role not in (None, Role(role)):
            return f"run {agent.start}"
        if agent.history is None or not list_generations(agent.history).generations:
            return mend
    except (OSError, TidegateError):
        return mend
    back = f"tidegate rollback --state {shlex.quote(str(state))} --offline"
    return f"{mend}, or return to the last good one with: {back}"


def _agent(state: Path, inherited: Inherited, reader: StateReader) -> Agent:
    match reader.role:
        case Role.GATEWAY:
            from agent.gateway.role import Gateway

            return Gateway(state, inherited, reader)
        case Role.CLIENT:
            from agent.client.role import Client

            return Client(state, inherited, reader)
    assert_never(reader.role)


def _console_for_table(asked: bool | None) -> Console | None:
    """The terminal for the live table; None if there is to be none.

    :param asked: for the table, or for none; None for whatever the terminal makes possible.
    """
    if asked is False:
        return None
    if sys.stdout.isatty() and (asked or sys.stderr.isatty()):
        from rich.console import Console

        console = Console()
        if console.is_terminal and not console.is_dumb_terminal:
            return console
    if asked:
        raise TidegateError("--live needs a terminal on stdout: leave it out, or run this in a terminal")
    return None


def _opened(log_file: Path) -> TextIO:
    try:
        return log_file.open("a", encoding="utf-8")
    except OSError as error:
        raise TidegateError(
            f"the log file {log_file} cannot be written: {error.strerror}; name another with --log-file"
        ) from error


async def run_in_foreground(
    agent: Agent, screen: Screen | None, manager: ServiceManager | None = None
) -> int:
    """Run an agent until a signal ends it, and it has drained.

    :returns: the exit status.
    :raises TidegateError: what the agent raises, or if the terminal cannot be written to any more.
    """
    started = anyio.Event()
    told = manager or ServiceManager(Notifier())

    async def main() -> None:
        async with anyio.create_task_group() as tasks:

            async def run_agent(*, task_status: TaskStatus[None]) -> None:
                await agent.run(task_status=task_status)
                tasks.cancel_scope.cancel()

            await tasks.start(run_agent)
            started.set()
            tasks.start_soon(told.keep_told, agent)
            if screen is not None:
                await _show(agent, screen)

    def reload() -> None:
        if started.is_set():  # until then it is about to read the file anyway
            agent.reload()
            told.reloads()

    def stop() -> bool:
        told.stops(agent if started.is_set() else None)
        agent.lifetime.ask_to_stop()
        return started.is_set()  # one that starts has nothing to drain, and may not get so far

    return await run_until_stopped(
        main,
        on_hangup=reload if screen is None else None,
        on_stop=stop,
        before_death=None if screen is None else _leave_screen,
    )


async def _show(agent: Agent, screen: Screen) -> None:
    from agent.view.live import show_live

    def footer() -> tuple[str, ...]:
        hint = screen.hint if agent.lifetime.is_running else _HINT_WHILE_DRAINING
        return (*(() if screen.tail is None else screen.tail.lines), hint)

    try:
        await show_live(agent.status, screen.console, prepare=agent.catch_up, footer=footer)
    except OSError as error:
        if not agent.lifetime.is_running:
            return  # nobody looks any more; that is no reason to drop the visitors
        raise TidegateError(
            f"the terminal cannot be written to ({error.strerror or error}): use --no-live to run without one"
        ) from error


def _leave_screen() -> None:
    """Undo what the table has made of the terminal, for a process that is about to die.

    Past Rich, whose lock a thread may hold that draws.
    """
    with suppress(OSError):
        os.write(sys.stdout.fileno(), _LEAVE_SCREEN)
