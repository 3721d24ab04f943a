"""``tidegate confirm``: keep a change that would be undone.

Rule: the agent decides whether it is too late; the exit status is 0 exactly if the change stays.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from agent.api.client import RefusedError, confirm, fetch_confirmation
from agent.process.loops import run
from schemas.confirmation import Stage
from schemas.errors import TidegateError

from .finding import found_agent


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
    return 0
