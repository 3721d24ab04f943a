"""A change that is undone unless somebody confirms it: the bodies of ``/v1/confirmation``.

Rule: models without behavior, but for the words of each stage.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

#: Seconds. Long enough for whoever has to find another way to the machine, and shorter than a working day.
LONGEST = 6 * 60 * 60.0
SHORTEST = 1.0

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Stage(Enum):
    """How far a change is that has to be confirmed. ``agent.past.confirmation`` alone moves it on."""

    NONE = "None"  # there is no such change, or nobody remembers it
    PENDING = "Pending"  # until its deadline it can be confirmed
    RESTORING = "Restoring"  # nobody did: the old files are being put back
    CONFIRMED = "Confirmed"  # the new files stay
    RESTORED = "Restored"  # the old files are back
    LEFT = "Left"  # nobody did, but somebody has changed the files since: they stay as they are


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class ConfirmedFile(BaseModel):
    """A file that is about to be replaced. The digests are SHA-256; null is that there is no file."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: str = Field(min_length=1, max_length=255, pattern=r"^[^/\x00]+$")
    before: Digest | None
    after: Digest | None


class ConfirmationRequest(BaseModel):
    """Let these changes be undone in so many seconds, unless they are confirmed before."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    within: float = Field(ge=SHORTEST, le=LONGEST, description="Seconds.")
    files: tuple[ConfirmedFile, ...] = Field(min_length=1, max_length=1000)


class ConfirmationReport(_Report):
    """How far the last change is that had to be confirmed."""

    format_version: Literal[1] = 1
    stage: Stage
    message: str
    deadline: datetime | None = None
    seconds_left: float | None = None  # while it is pending
    files: tuple[str, ...] = ()
