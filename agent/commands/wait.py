"""``tidegate wait``: until a running agent has what is asked for, or time is up.

Rule: first the agent is told to look at its file, so that what was written before the
command is what is waited for. Everything must hold at one moment; a thing that holds
is said once. An agent that does not run yet is waited for as well.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio

from agent.api.client import AgentUnreachableError, WrongSocketError, fetch_status, reload
from agent.offline import Whereabouts
from agent.process.loops import run
from schemas.errors import TidegateError
from schemas.quantities import spell_duration
from schemas.status import AgentStatus, ConditionType

from .finding import found_agent
from .waiting import Awaited, awaited, refusal, tell_missing

_PAUSE: Final = 0.2  # seconds between two questions, and at least so many times what an answer takes:
_COURTESY: Final = 3.0
_ANSWER: Final = 2.0  # seconds that the agent has for an answer, however little time is left


def run_wait(
    names: Sequence[str], *, condition: ConditionType, timeout: float, state: Path | None, socket: Path | None
) -> int:
    """The command.

    :param names: what is waited for; nothing is everything.
    :param timeout: seconds; with 0, the agent is asked once.
    :returns: the exit status.
    :raises TidegateError: if time is up; what is missing has been printed then.
    """
    wait = _Wait(found_agent(state, socket), tuple(dict.fromkeys(names)), condition, timeout)
    run(wait.until_met)
    return 0


class _Wait:
    def __init__(
        self, agent: Whereabouts, names: Sequence[str], condition: ConditionType, timeout: float
    ) -> None:
        self._agent = agent
        self._names = names
        self._condition = condition
        self._timeout = timeout
        self._told: set[str] = set()  # what was said to be met, and still is
        self._has_looked = False
        self._silence: AgentUnreachableError | None = None
        self._refusal: str | None = None

    async def until_met(self) -> None:
        deadline = anyio.current_time() + self._timeout
        while True:
            asked = anyio.current_time()
            found = await self._look(deadline)
            if found and all(one.is_met for one in found):
                if self._refusal is not None:
                    print(f"tidegate: warning: {self._refusal}", file=sys.stderr)
                return
            now = anyio.current_time()
            if now >= deadline:
                self._give_up(found)
            await anyio.sleep(min(max(_PAUSE, _COURTESY * (now - asked)), deadline - now))

    async def _look(self, deadline: float) -> tuple[Awaited, ...]:
        """How far everything is; nothing, if the agent cannot be asked now."""
        try:
            status = await self._ask(deadline)
        except WrongSocketError:
            raise
        except AgentUnreachableError as error:
            self._silence = error
            self._has_looked = False  # it may be another one that comes, with another file
            return ()
        self._silence = None
        self._refusal = refusal(status)
        found = awaited(status, self._condition, self._names)
        for one in found:
            if one.is_met and one.name not in self._told:
                print(one.text, flush=True)
        self._told = {one.name for one in found if one.is_met}
        return found

    async def _ask(self, deadline: float) -> AgentStatus:
        """Its status, after it has looked at its file.

        :raises AgentUnreachableError: if it has none in time.
        """
        if not self._has_looked:
            # However long it takes to bring into force what it read, its status says how far that is.
            with _time_until(deadline):
                await reload(self._agent.socket, start=self._agent.start)
            self._has_looked = True
        with _time_until(deadline):
            return await fetch_status(self._agent.socket, start=self._agent.start)
        message = f"the agent at {self._agent.socket} does not answer in time: look at its log"
        raise AgentUnreachableError(message)

    def _give_up(self, found: Sequence[Awaited]) -> None:
        """:raises TidegateError: always."""
        if self._silence is not None:
            raise self._silence
        missing = [one for one in found if not one.is_met]
        for one in missing:
            print(one.text, file=sys.stderr)
        time = spell_duration(self._timeout)
        raise TidegateError(f"{tell_missing(found)} after {time}: mend that, or set a longer --timeout")


def _time_until(deadline: float) -> anyio.CancelScope:
    return anyio.CancelScope(deadline=max(deadline, anyio.current_time() + _ANSWER))
