"""Desired and observed in, plan out.

Rule: pure and total. The same pair always gives the same plan, a converged pair
gives an empty one, and nothing here can know why it was called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from .desired import Key, Spec, order_of
from .observed import IN_FLIGHT, Observed, ObservedState, Phase


class Verb(Enum):
    """Declared in the order of execution, whatever the kind: a port is freed before anyone takes it.

    A control port may move to the address that a public listener gives up, so all
    closes come first. Updates come before opens because they cannot wait for a
    port, and because admission and services are best right before anyone connects.
    """

    CLOSE = "-"
    UPDATE = "~"
    OPEN = "+"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One step. ``spec`` is what shall be in force afterwards: None exactly for CLOSE."""

    verb: Verb
    key: Key
    spec: Spec | None

    def __str__(self) -> str:
        return f"{self.verb.value} {self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps in the order in which they are taken."""

    actions: tuple[Action, ...]

    @property
    def is_empty(self) -> bool:
        return not self.actions


def make_plan(
    desired: Mapping[Key, Spec], observed: ObservedState, *, held: frozenset[Key] = frozenset()
) -> Plan:
    """The steps that lead from ``observed`` to ``desired``.

    Resources in flight get no step: their owner finishes first and the next turn
    looks again. Nor do those in ``held``, which failed and wait for their retry.
    """
    verbs: dict[Key, Verb | None] = {}
    for key, wanted in desired.items():
        now = observed.get(key)
        # Most are as they should be, of thousands nearly all, and then the specification is the same object.
        if now is None or now.spec is not wanted or now.phase is not Phase.OPEN:
            verbs[key] = _verb(now, wanted)
    for key in observed.keys() - desired.keys():
        verbs[key] = _verb(observed[key], None)
    keys = sorted(verbs.keys() - held, key=order_of)
    return Plan(
        actions=tuple(
            Action(verb=verb, key=key, spec=desired.get(key))
            for verb in Verb
            # What was opened last is closed first: visitors are turned away before clients are.
            for key in (reversed(keys) if verb is Verb.CLOSE else keys)
            if verbs[key] is verb
        )
    )


def _verb(now: Observed | None, wanted: Spec | None) -> Verb | None:
    if now is None:
        return None if wanted is None else Verb.OPEN
    if now.phase in IN_FLIGHT:
        return None
    if wanted is None:
        return Verb.CLOSE  # a failed resource that nobody wants is forgotten by closing it
    if now.phase is Phase.FAILED:
        return Verb.OPEN
    return None if now.spec == wanted else Verb.UPDATE
