"""Why a command came to nothing: what it prints on stdout where ``--json`` was asked for.

Rule: models without behavior. ``format_version`` grows when a reader of an earlier one would misunderstand.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .status import ProblemStatus


class FailureReport(BaseModel):
    """What went wrong.

    ``error`` is what people read on stderr. ``problems`` is everything there is to mend, each with its
    place if that is in a file, as in the ``problem+json`` of the API.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    format_version: Literal[1] = 1
    error: str
    problems: tuple[ProblemStatus, ...] = Field(min_length=1)
