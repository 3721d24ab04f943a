"""``tidegate history``: which states were accepted, and which one counts.

Rule: the running agent is asked, and where none runs the directory is read; both say
the same but for which one is in force.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from agent.api.client import NoAgentError, fetch_history
from agent.offline import Whereabouts
from agent.past.report import history_report
from agent.process.loops import run
from agent.view.cells import pad, printable
from schemas.errors import TidegateError
from schemas.history_report import HistoryReport, KeptGeneration

from .finding import found_agent


def run_history(state: Path | None, *, socket: Path | None, as_json: bool = False) -> int:
    """The command.

    :returns: the exit status.
    :raises TidegateError: if there is no agent to ask and no directory to read.
    """
    report = kept_states(found_agent(state, socket))
    if as_json:
        print(report.model_dump_json(indent=2))
        return 0
    for line in history_lines(report):
        print(line)
    for warning in report.warnings:
        print(printable(warning), file=sys.stderr)
    return 0


def kept_states(agent: Whereabouts) -> HistoryReport:
    """The history of an agent, whether or not it runs.

    :raises TidegateError: if it cannot be had.
    """
    try:
        return run(partial(fetch_history, agent.socket, start=agent.start))
    except NoAgentError:
        if agent.history is None:
            raise
        try:
            return history_report(agent.history, 0, 0)
        except OSError as error:
            raise TidegateError(
                f"{agent.history} cannot be read: {error.strerror or error}; run this as the user of the "
                "agent, or with sudo"
            ) from error


def history_lines(report: HistoryReport) -> Iterator[str]:
    """A line for each generation, in columns."""
    if not report.generations:
        yield "no state was kept yet"
        return
    rows = [("GENERATION", "ACCEPTED AT (UTC)", "DIGEST", "CHANGED", "")]
    rows += [
        (
            str(one.generation),
            f"{one.accepted_at:%Y-%m-%d %H:%M:%S}",
            printable(one.digest[:12]),
            printable(one.changed),
            _mark(one),
        )
        for one in report.generations
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(pad(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _mark(generation: KeptGeneration) -> str:
    if generation.in_force and generation.accepted:
        return "in force"
    if generation.accepted:
        return "accepted, not in force as a whole"
    return "was in force last" if generation.in_force else ""
