"""An actuator whose world is a dictionary.

Rule: it keeps the contract of ``reconcile.actuator.Actuator`` to the letter, so
that whatever passes with it may rely on that contract and on nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from reconcile.actuator import ActionError
from reconcile.desired import Key
from reconcile.observed import Observed, ObservedState, Phase
from reconcile.plan import Action, Verb


@dataclass(eq=False)
class Hold:
    """An action that waits: ``reached`` is set when it has begun, and it goes on once ``released`` is."""

    reached: anyio.Event = field(default_factory=anyio.Event)
    released: anyio.Event = field(default_factory=anyio.Event)


class FakeActuator:
    """``world`` is what runs and ``performed`` every action in the order in which it began."""

    def __init__(self, world: ObservedState | None = None) -> None:
        self.world: dict[Key, Observed] = dict(world or {})
        self.performed: list[Action] = []
        self._broken: dict[Key, Exception] = {}
        self._holds: dict[Key, Hold] = {}

    def break_key(self, key: Key, error: Exception) -> None:
        """Let every action on the key fail, until it is mended."""
        self._broken[key] = error

    def mend_key(self, key: Key) -> None:
        del self._broken[key]

    def mend_all(self) -> None:
        self._broken.clear()

    def hold_key(self, key: Key) -> Hold:
        """Let the next action on the key wait."""
        self._holds[key] = Hold()
        return self._holds[key]

    def lose_key(self, key: Key) -> None:
        """Drift: what ran is gone, and nobody was told."""
        del self.world[key]

    def observe(self) -> ObservedState:
        return dict(self.world)

    async def perform(self, action: Action) -> None:
        self.performed.append(action)
        before = self.world.get(action.key)
        match action.verb:
            case Verb.CLOSE:
                if before is None:
                    return
                self.world[action.key] = Observed(spec=before.spec, phase=Phase.CLOSING)
            case Verb.OPEN | Verb.UPDATE:
                assert action.spec is not None
                self.world[action.key] = Observed(spec=action.spec, phase=Phase.OPENING)
        try:
            await self._work(action.key)
        except Exception as error:
            reason = error.reason if isinstance(error, ActionError) else ""
            self._settle(action, before, Phase.FAILED, message=str(error), reason=reason)
            raise
        except BaseException:
            # Cancelled before anything was done: the world is as it was.
            self._restore(action.key, before)
            raise
        if action.verb is Verb.CLOSE:
            del self.world[action.key]
        else:
            self._settle(action, before, Phase.OPEN)

    async def _work(self, key: Key) -> None:
        await anyio.lowlevel.checkpoint()
        hold = self._holds.pop(key, None)
        if hold is not None:
            hold.reached.set()
            await hold.released.wait()
        if key in self._broken:
            raise self._broken[key]

    def _settle(
        self, action: Action, before: Observed | None, phase: Phase, message: str = "", reason: str = ""
    ) -> None:
        spec = action.spec if action.spec is not None or before is None else before.spec
        assert spec is not None
        self.world[action.key] = Observed(spec=spec, phase=phase, message=message, reason=reason)

    def _restore(self, key: Key, before: Observed | None) -> None:
        if before is None:
            self.world.pop(key, None)
        else:
            self.world[key] = before
