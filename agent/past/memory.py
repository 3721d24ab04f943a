"""What an agent remembers beyond its end: the states it has accepted, and a change that must be confirmed.

Rule: both roles remember the same things in the same way; here is what these are.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from anyio import Event, create_task_group, sleep, to_thread

from reconcile.history import FileHistory
from reconcile.reading import StateText, read_documents
from reconcile.source import FileSource
from schemas.errors import StateError, TidegateError
from schemas.state import ClientSettings, GatewaySettings, State

from .confirmation import Confirmation
from .paths import history_path
from .undoing import finish_orphan, has_left

_RETRY: Final = 5.0  # seconds until a disk that did not take something is tried again

_log: Any = structlog.get_logger("memory")


class Memory:
    """The memory of one agent.

    :param state: the state of the agent, a file or a directory of fragments.
    """

    history: FileHistory  # from ``remember`` on

    def __init__(self, state: Path, *, clock: Callable[[], datetime]) -> None:
        self._state = state
        self._clock = clock
        self._looked_at = Event()
        self.confirmation = Confirmation(state, clock=clock)

    async def has_left(self) -> bool:
        """Whether an earlier process has left anything to be ended."""
        return await to_thread.run_sync(has_left, self._state)

    async def begin(self) -> bool:
        """Before the first state counts: end what a process that died has begun.

        :returns: whether there was any.
        """
        is_left = await self.has_left()
        if is_left:
            await self.confirmation.begin()
        return is_left

    def look(self) -> None:
        """Something may have happened to the files."""
        self._looked_at.set()

    def remember(self, settings: GatewaySettings | ClientSettings) -> FileHistory:
        """The history of an agent with these settings."""
        directory = history_path(self._state, settings)
        self.history = FileHistory(directory, understand=understood, clock=self._clock)
        return self.history

    def keeping(
        self, source: FileSource, ring: Callable[[], object]
    ) -> Callable[[], Coroutine[Any, Any, None]]:
        """What is to run as long as the agent does.

        :param ring: called when the files of the source were changed.
        """

        async def keeping() -> None:
            async with create_task_group() as tasks:
                tasks.start_soon(partial(self.confirmation.run, excuse=source.excuse, ring=ring))
                tasks.start_soon(self._catch_up)

        return keeping

    async def _catch_up(self) -> None:
        """Carry out what a command has left that was killed meanwhile, and keep what could not be kept."""
        told = ""
        while True:
            await self._looked_at.wait()
            self._looked_at = Event()
            try:
                if await to_thread.run_sync(self.history.retry):
                    _log.info("history_kept", directory=str(self.history.directory))
                if await to_thread.run_sync(finish_orphan, self._state):
                    _log.warning("replacing_finished", state=str(self._state), reason="a command died at it")
            except (OSError, TidegateError) as error:
                if str(error) != told:  # or it is only tried again
                    _log.error("replacing_not_finished", reason=str(error))
                told = str(error)
                await sleep(_RETRY)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What whoever looks at the agent should know of it."""
        return (*self.confirmation.warnings, *self.history.warnings)


def understood(texts: Sequence[StateText]) -> State | None:
    """What the files of a kept state say, None if they say nothing any more."""
    from schemas.parse import parse_state  # not before there is another state than the last one kept

    documents, problems = read_documents(texts)
    if problems:
        return None
    try:
        return parse_state(documents)
    except StateError:
        return None  # such as one of which something was left out
