"""What an agent remembers beyond its end: the states it has accepted, and a change that must be confirmed.

Rule: both roles remember the same things in the same way; here is what these are.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from reconcile.history import FileHistory
from reconcile.reading import StateText, read_documents
from reconcile.source import FileSource
from schemas.errors import StateError
from schemas.parse import parse_state
from schemas.state import ClientSettings, GatewaySettings, State

from .confirmation import Confirmation
from .paths import history_path


class Memory:
    """The memory of one agent.

    :param state: the state of the agent, a file or a directory of fragments.
    """

    history: FileHistory  # from ``remember`` on

    def __init__(self, state: Path, *, clock: Callable[[], datetime]) -> None:
        self._state = state
        self._clock = clock
        self.confirmation = Confirmation(state, clock=clock)

    async def begin(self) -> None:
        """Before the first state is read: end what a process that died has begun."""
        await self.confirmation.begin()

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
        return partial(self.confirmation.run, excuse=source.excuse, ring=ring)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What whoever looks at the agent should know of it."""
        return (*self.confirmation.warnings, *self.history.warnings)


def understood(texts: Sequence[StateText]) -> State | None:
    """What the files of a kept state say, None if they say nothing any more."""
    documents, problems = read_documents(texts)
    if problems:
        return None
    try:
        return parse_state(documents)
    except StateError:
        return None  # such as one of which something was left out
