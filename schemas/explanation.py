"""What becomes of a visitor, and why: the body of ``GET /v1/explain``.

Rule: these models are the only description of an explanation outside the agent.
``format_version`` grows when a reader of an earlier one would misunderstand.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class Match(_Report):
    """A route that would take the visitor. No hostname: it is the default route of the port."""

    tunnel: str
    hostname: str | None


class Explanation(_Report):
    """What becomes of one visitor now.

    ``kind`` is ``tls``, ``http``, or ``raw`` for a visitor who names no host, and
    ``name`` the host it names. ``listener`` is the address that answers, null if
    none does. ``match`` is the route that takes the visitor and ``next`` those that
    would if it were not there, best first; ``client`` serves it, null if none can.
    ``gets`` is what the visitor meets with, and ``why`` says all of it in sentences.
    ``accepted``: whether the newest state file is the ``generation`` that counts.
    """

    format_version: Literal[1] = 1
    listen: str
    kind: Literal["tls", "http", "raw"]
    name: str | None
    served: bool
    gets: str
    listener: str | None
    match: Match | None
    next: tuple[Match, ...]
    client: str | None
    service: str | None
    why: tuple[str, ...]
    generation: int
    accepted: bool
