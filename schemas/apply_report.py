"""What came of putting files in place: what ``tidegate apply --json`` and ``tidegate rollback --json`` print.

Rule: models without behavior. ``format_version`` grows when a reader of an earlier one would misunderstand.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from .plan_report import PlanReport
from .reload_report import FailedResource


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class Placing(Enum):
    """What became of the files."""

    PLACED = "Placed"
    UNCHANGED = "Unchanged"  # they were like this already


class Outcome(_Report):
    """A tunnel of a gateway, or a service of a client, that is another than before."""

    verb: Literal["+", "~", "-"]
    name: str
    in_force: bool
    message: str


class ApplyReport(_Report):
    """How things stand after files were put in place.

    ``generation`` is None if no agent was asked. ``accepted``: whether the agent uses the
    files, to which otherwise ``problems`` say why not. ``in_force``: whether all of it is,
    to which otherwise ``failed`` says what is not.
    """

    format_version: Literal[1] = 1
    state: str
    placing: Placing
    files: tuple[str, ...]  # those that were replaced, made or removed
    plan: PlanReport | None = None
    generation: int | None = None
    accepted: bool = False
    in_force: bool = False
    outcomes: tuple[Outcome, ...] = ()
    problems: tuple[str, ...] = ()
    failed: tuple[FailedResource, ...] = ()
    confirm_until: datetime | None = None
