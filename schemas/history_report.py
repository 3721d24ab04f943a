"""What an agent says of the states it has accepted: ``GET /v1/history`` and ``tidegate history --json``.

Rule: models without behavior. Keys and their meaning never change within a format
version; new keys may come.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class KeptGeneration(_Report):
    """A state that was accepted, without its files."""

    generation: int
    accepted_at: datetime
    digest: str  # SHA-256 of the lines that sha256sum prints for its files in their directory
    changed: str  # against the one before, in one line
    accepted: bool = False  # whether it is the state that counts
    in_force: bool = False  # whether it is the last one that was in force as a whole


class HistoryReport(_Report):
    """The newest one is the first."""

    format_version: Literal[1] = 1
    generations: tuple[KeptGeneration, ...]
    warnings: tuple[str, ...] = ()


class KeptFile(_Report):
    """A file of a state. ``owned``: the tunnels that were declared through the API.

    Mode, owner and group are those of the file when it was accepted, as numbers.
    """

    name: str
    owned: bool
    text: str
    mode: int | None = None
    owner: int | None = None
    group: int | None = None


class GenerationReport(_Report):
    """A state that was accepted, with its files, which may hold inline keys."""

    format_version: Literal[1] = 1
    generation: int
    accepted_at: datetime
    digest: str
    changed: str
    files: tuple[KeptFile, ...]
