"""What this agent keeps in force: resources by key, each with its phase.

Rule: the phase of a resource changes here and nowhere else. How a resource is
opened, changed and closed is known to its opener; both roles use this one
actuator with openers of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias

import anyio

from reconcile.actuator import ActionError
from reconcile.desired import Key, Kind, Spec
from reconcile.observed import IN_FLIGHT, Observed, ObservedState, Phase
from reconcile.plan import Action, Verb

Failed: TypeAlias = Callable[[ActionError], None]

# Asking one is a system call. The loop looks a few times in every turn, and at thousands in turns.
_ASKED_AT_ONCE: Final = 500


class Resource(Protocol):
    """Something that has been opened."""

    @property
    def is_alive(self) -> bool:
        """Whether it still does its work, as far as can be seen at once. Asked at every look."""

    async def update(self, spec: Any) -> None:
        """Make it match another specification of the same key, in place.

        :raises ActionError: if that cannot be done; what ran before still runs.
        """

    async def close(self) -> None:
        """Give it up, or what is left of it. When this returns, what it held is free. Does not fail.

        Called again if it was cancelled the first time.
        """


class Opener(Protocol):
    """Opens resources of one kind."""

    async def __call__(self, spec: Any, failed: Failed) -> Resource:
        """Open one.

        :param failed: to be called if the resource dies by itself; what is left of it is closed later.
        :raises ActionError: if it cannot be opened; nothing is left of it then.
        """


class _Life:
    """One resource from its opening to its end. Another one of the same key is another life."""

    def __init__(self) -> None:
        self.resource: Resource | None = None  # None while it is being opened
        self.death: ActionError | None = None  # it ended by itself
        self.is_ending = False  # somebody has begun to close it

    @property
    def is_over(self) -> bool:
        """Whether all that can be done with it is to close it."""
        return self.is_ending or self.death is not None


class ResourceActuator:
    """The ``Actuator`` of both roles.

    :param openers: how each kind is opened.
    :param ring: called when a resource has died by itself.
    """

    def __init__(self, openers: Mapping[Kind, Opener], ring: Callable[[], object]) -> None:
        self._openers = openers
        self._ring = ring
        self._observed: dict[Key, Observed] = {}
        self._snapshot: ObservedState | None = None  # None: something has changed since the last one
        self._lives: dict[Key, _Life] = {}
        self._unasked: list[Key] = []

    def observe(self) -> ObservedState:
        for key, life in self._next_lives():
            if life.resource is not None and not life.resource.is_alive:
                self._died(key, life, ActionError("it ended by itself", reason="Failed"))
        if self._snapshot is None:
            self._snapshot = MappingProxyType(dict(self._observed))
        return self._snapshot

    def _next_lives(self) -> list[tuple[Key, _Life]]:
        """Those whose turn it is to be asked whether they are alive: all, unless they are very many."""
        if len(self._lives) <= _ASKED_AT_ONCE:
            return list(self._lives.items())
        if not self._unasked:
            self._unasked = list(self._lives)
        asked, self._unasked = self._unasked[-_ASKED_AT_ONCE:], self._unasked[:-_ASKED_AT_ONCE]
        return [(key, self._lives[key]) for key in asked if key in self._lives]

    def _show(self, key: Key, observed: Observed | None) -> None:
        """The only way in which what is observed changes."""
        self._snapshot = None
        if observed is None:
            self._observed.pop(key, None)
        else:
            self._observed[key] = observed

    async def perform(self, action: Action) -> None:
        if action.verb is Verb.CLOSE or action.spec is None:
            await self._close(action.key)
        else:
            await self._bring(action.key, action.spec)

    async def close_all(self, *kinds: Kind) -> None:
        """Give everything up, or everything of these kinds, beginning with what was opened last."""
        async with anyio.create_task_group() as closing:
            for key in reversed(list(self._observed)):
                if not kinds or key.kind in kinds:
                    closing.start_soon(self._close, key)

    async def _bring(self, key: Key, spec: Spec) -> None:
        """Open what is not open, change what is."""
        life = self._lives.get(key)
        self._show(key, Observed(spec=spec, phase=Phase.OPENING))
        try:
            if life is not None and life.is_over:
                await self._end(key, life)
                life = None
            if life is None:
                life = self._lives[key] = _Life()
                life.resource = await self._openers[key.kind](spec, partial(self._died, key, life))
            elif life.resource is not None:
                await life.resource.update(spec)
            if life.death is not None:
                raise life.death
        except BaseException as error:
            self._fail(key, spec, _as_action_error(error))
            raise
        self._show(key, Observed(spec=spec, phase=Phase.OPEN))

    async def _close(self, key: Key) -> None:
        life = self._lives.get(key)
        if life is not None:
            spec = self._observed[key].spec
            self._show(key, Observed(spec=spec, phase=Phase.CLOSING))
            try:
                await self._end(key, life)
            except BaseException as error:
                self._fail(key, spec, _as_action_error(error))
                raise
        self._show(key, None)

    async def _end(self, key: Key, life: _Life) -> None:
        life.is_ending = True
        if life.resource is not None:
            await life.resource.close()
        del self._lives[key]

    def _died(self, key: Key, life: _Life, error: ActionError) -> None:
        if self._lives.get(key) is not life or life.is_over:
            return  # nobody asks for it any more, or it is known
        life.death = error
        observed = self._observed[key]
        if observed.phase not in IN_FLIGHT:  # else whoever is at it finds out
            self._fail(key, observed.spec, error)
            self._ring()

    def _fail(self, key: Key, spec: Spec, error: ActionError) -> None:
        life = self._lives.get(key)
        if life is not None and life.resource is None:
            del self._lives[key]
        failed = Observed(spec=spec, phase=Phase.FAILED, message=str(error), reason=error.reason)
        self._show(key, failed)


def _as_action_error(error: BaseException) -> ActionError:
    """What is shown of a resource that failed in another way."""
    match error:
        case ActionError():
            return error
        case OSError():
            return ActionError(error.strerror or str(error) or type(error).__name__, reason="Failed")
        case Exception():
            message = f"a defect in Tidegate: {type(error).__name__}: {error}; please report it"
            return ActionError(" ".join(message.split()), reason="Failed")
        case _:
            return ActionError("it was interrupted", reason="Interrupted")
