"""What the log says of the turns of the reconcile loop.

Rule: a line for each event of a turn, in the words of the event. Other events have
their lines where they happen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from agent.events import Event, EventKind

_log: Any = structlog.get_logger("reconcile")

_LEVELS: Final[Mapping[EventKind, str]] = {
    EventKind.STATE_ACCEPTED: "info",
    EventKind.STATE_REFUSED: "error",
    EventKind.STATE_MENDED: "info",
    EventKind.TUNNELS_LEFT_OUT: "error",
    EventKind.STATE_IN_FORCE: "info",
    EventKind.RESOURCE_OPENED: "info",
    EventKind.RESOURCE_UPDATED: "info",
    EventKind.RESOURCE_CLOSED: "info",
    EventKind.RESOURCE_FAILED: "error",
    EventKind.DRIFT_HEALED: "warning",
}


def log_turn_event(event: Event) -> None:
    """Called with every event."""
    level = _LEVELS.get(event.kind)
    if level is None:
        return
    fields = dict(event.data)
    if "problems" in fields:
        fields["problems"] = [problem.text for problem in event.data["problems"]]
    if event.kind is EventKind.STATE_REFUSED:
        fields["generation_in_force"] = fields.pop("generation")
    if event.defect is not None:
        fields["exc_info"] = event.defect
    write: Callable[..., None] = getattr(_log, level)
    write(event.kind.value, **fields)
