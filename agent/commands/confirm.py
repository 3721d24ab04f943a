"""``tidegate confirm``: keep a change that would be undone.

Rule: the agent decides whether it is too late; the exit status is 0 exactly if the change stays. Whoever
keeps what does not work may have reasons, and is told.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from agent.api.client import AgentUnreachableError, RefusedError, confirm, fetch_confirmation
from agent.process.loops import run
from agent.view.cells import printable
from schemas.confirmation import Stage
from schemas.errors import TidegateError
from schemas.reload_report import FailedResource
from schemas.status import AgentStatus

from .finding import found_agent
from .outcome import look
from .waiting import refusal


def run_confirm(state: Path | None, *, socket: Path | None, as_json: bool = False) -> int:
    """The command.

    :returns: the exit status.
    :raises TidegateError: if there is nothing to confirm, or no agent answers.
    """
    agent = found_agent(state, socket)
    try:
        report = run(partial(confirm, agent.socket, start=agent.start))
    except RefusedError as error:
        report = run(partial(fetch_confirmation, agent.socket, start=agent.start))
        if report.stage is not Stage.CONFIRMED:  # else it was said before, and the answer was lost
            raise TidegateError(error.detail) from error
    print(report.model_dump_json(indent=2) if as_json else report.message)
    with suppress(AgentUnreachableError):  # it stays, whether or not it can be looked at
        _warn(*run(partial(look, agent)))
    return 0


def _warn(status: AgentStatus, failed: Sequence[FailedResource]) -> None:
    for one in failed:
        print(printable(f"{one.resource}: {one.message}"), file=sys.stderr)
    doubt = refusal(status)
    if doubt is None and failed:
        doubt = f"generation {status.source.generation} is not in force as a whole: mend what failed"
    if doubt is not None:
        print(printable(f"tidegate: warning: {doubt}"), file=sys.stderr)
