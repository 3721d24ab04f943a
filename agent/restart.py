"""The few settings that a running agent cannot change.

Rule: a setting that is not listed here takes effect as soon as its file is accepted.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import structlog

from schemas.state import ClientSettings, GatewaySettings

Settings: TypeAlias = GatewaySettings | ClientSettings

#: Settings of an agent that are no part of any resource, and take effect as soon as they are accepted.
LIVE: Final = ("name", "drain", "log_level")

_log: Any = structlog.get_logger("agent")

# Where an agent is found, and where it keeps its own files, for as long as it runs.
_FIXED: Final = ("socket", "data")


def needs_restart(started_with: Settings, wanted: Settings) -> tuple[str, ...]:
    """The names of all settings that will be in force from the next start on."""
    return tuple(name for name in _FIXED if getattr(started_with, name, None) != getattr(wanted, name, None))


def log_needed_restart(started_with: Settings, wanted: Settings) -> None:
    """Say which settings are not in force, if there are any."""
    settings = needs_restart(started_with, wanted)
    if settings:
        reason = "these are in force from the next start on; restart the agent when it suits you"
        _log.warning("restart_needed", settings=settings, reason=reason)
