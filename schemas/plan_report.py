"""What a change would do: the body of ``POST /v1/plan``, and what ``tidegate plan --json`` prints.

Rule: these models are the only description of a plan outside the agent.
``format_version`` grows when a reader of an earlier one would misunderstand.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class PlannedVerb(Enum):
    OPEN = "+"
    UPDATE = "~"
    CLOSE = "-"


class PlannedSetting(_Report):
    """One setting before and after; null where there is none."""

    name: str
    before: str | None
    after: str | None


class PlannedLead(_Report):
    """Whom a route takes, and where it leads. No hostname: the default route of the port."""

    hostname: tuple[str, ...]
    client: tuple[str, ...]
    service: str
    proxy_protocol: str
    balance: str = "preference"


class PlannedRoute(_Report):
    """One route of a listener. ``finishing`` connections came by it and keep it until they end."""

    verb: PlannedVerb
    tunnel: str
    before: PlannedLead | None
    after: PlannedLead | None
    finishing: int


class LostClient(_Report):
    """A client that is connected and would lose its sessions, and its visitors with them."""

    id: str
    dropped: int


class PlannedChange(_Report):
    """One resource: a listener, the control port, a link.

    ``finishing`` connections go on until they end by themselves; ``dropped`` ones are cut.
    """

    verb: PlannedVerb
    kind: str
    name: str
    settings: tuple[PlannedSetting, ...]
    routes: tuple[PlannedRoute, ...]
    routes_kept: int
    lost: tuple[LostClient, ...]
    failure: str
    finishing: int
    dropped: int


class PlanReport(_Report):
    """What would be done to put a state in force.

    ``base`` says against what: a running agent, another file, or nothing; only of an
    agent it is known who is connected (``live``). ``settings`` are those of the agent
    itself, ``restart`` those of them that take effect when it is started again,
    ``left_out`` the tunnels of the API that would find no room, and ``warnings`` what
    would not work although the files are valid.
    """

    format_version: Literal[1] = 1
    role: str
    base: str
    live: bool
    generation: int
    digest: str
    changes: tuple[PlannedChange, ...]
    settings: tuple[PlannedSetting, ...]
    restart: tuple[PlannedSetting, ...]
    left_out: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.changes or self.settings or self.restart or self.left_out)
