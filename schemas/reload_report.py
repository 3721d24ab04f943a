"""What came of a reload: the body of ``POST /v1/reload``, and what ``tidegate reload --json`` prints.

Rule: these models are the only description of a reload outside the agent.
``format_version`` grows when a reader of an earlier one would misunderstand.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from .status import ProblemStatus

#: The resource that failed where the files of keys will not do.
KEYS: Final = "keys"


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class FailedResource(_Report):
    """Something that is not in force, such as ``listener 0.0.0.0:443``, and why. It is tried again."""

    resource: str
    message: str


class ReloadReport(_Report):
    """How things stand after the state file was read again and applied.

    ``accepted``: whether what the file says now is what counts. If so, ``problems`` are
    what was left out of it, and if not, why it was refused; then ``generation`` and
    ``digest`` are those of the state from before. ``in_force``: whether all of that
    generation is, to which ``failed`` says what is not.
    """

    format_version: Literal[1] = 1
    generation: int
    observed_generation: int
    digest: str
    accepted: bool
    in_force: bool
    problems: tuple[ProblemStatus, ...]
    failed: tuple[FailedResource, ...]
