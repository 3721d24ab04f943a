"""What runs, as the actuator reports it.

Rule: these are the only words for the life of a resource. An operation in flight
is a phase of its own with one owner, the actuator, so that a planner can leave it
alone and a cancelled turn leaves nothing unsaid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from .desired import Key, Spec


class Phase(Enum):
    OPENING = "opening"  # in flight: the actuator is opening or updating it
    OPEN = "open"  # in force, as its spec says
    CLOSING = "closing"  # in flight: the actuator is closing it
    FAILED = "failed"  # not in force; the planner reads it as absent


IN_FLIGHT = frozenset({Phase.OPENING, Phase.CLOSING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One resource as it is now. ``reason`` is one CamelCase word for machines, ``message`` is for people."""

    spec: Spec
    phase: Phase
    message: str = ""
    reason: str = ""


ObservedState: TypeAlias = Mapping[Key, Observed]
"""Everything that runs, is being opened or closed, or has failed. What is absent does not exist."""
