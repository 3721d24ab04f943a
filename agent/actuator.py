"""What this agent keeps in force: resources by key, each with its phase.

Rule: the phase of a resource changes here and nowhere else. How a resource is
opened, changed and closed is known to its opener; both roles use this one
actuator with openers of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

from reconcile.actuator import ActionError
from reconcile.desired import Key, Kind, Spec
from reconcile.observed import Observed, ObservedState, Phase
from reconcile.plan import Action, Verb

Failed: TypeAlias = Callable[[ActionError], None]


class Resource(Protocol):
    """Something that has been opened."""

    async def update(self, spec: Any) -> None:
        """Make it match another specification of the same key, in place.

        :raises ActionError: if that cannot be done; what ran before still runs.
        """

    async def close(self) -> None:
        """Give it up. Does not fail."""


class Opener(Protocol):
    """Opens resources of one kind."""

    async def __call__(self, spec: Any, failed: Failed) -> Resource:
        """Open one.

        :param failed: to be called if the resource dies by itself later.
        :raises ActionError: if it cannot be opened; nothing is left of it then.
        """


class ResourceActuator:
    """The ``Actuator`` of both roles.

    :param openers: how each kind is opened.
    :param ring: called when a resource has died by itself.
    """

    def __init__(self, openers: Mapping[Kind, Opener], ring: Callable[[], object]) -> None:
        self._openers = openers
        self._ring = ring
        self._observed: dict[Key, Observed] = {}
        self._resources: dict[Key, Resource] = {}

    def observe(self) -> ObservedState:
        return MappingProxyType(dict(self._observed))

    async def perform(self, action: Action) -> None:
        key, spec = action.key, action.spec
        if action.verb is Verb.CLOSE or spec is None:
            await self._close(key)
            return
        resource = self._resources.get(key)
        self._observed[key] = Observed(spec=spec, phase=Phase.OPENING)
        try:
            if resource is None:
                self._resources[key] = await self._openers[key.kind](
                    spec, lambda error: self._died(key, error)
                )
            else:
                await resource.update(spec)
        except ActionError as error:
            self._fail(key, spec, error)
            raise
        except BaseException:
            self._fail(key, spec, ActionError("interrupted", reason="Interrupted"))
            raise
        self._observed[key] = Observed(spec=spec, phase=Phase.OPEN)

    async def close_all(self) -> None:
        """Give everything up, what was opened last first."""
        for key in reversed(list(self._resources)):
            await self._close(key)

    async def _close(self, key: Key) -> None:
        observed = self._observed.get(key)
        resource = self._resources.get(key)
        if observed is not None and resource is not None:
            self._observed[key] = Observed(spec=observed.spec, phase=Phase.CLOSING)
            await resource.close()
        self._resources.pop(key, None)
        self._observed.pop(key, None)

    def _died(self, key: Key, error: ActionError) -> None:
        observed = self._observed.get(key)
        if observed is not None and self._resources.pop(key, None) is not None:
            self._fail(key, observed.spec, error)
            self._ring()

    def _fail(self, key: Key, spec: Spec, error: ActionError) -> None:
        self._observed[key] = Observed(spec=spec, phase=Phase.FAILED, message=str(error), reason=error.reason)
