"""``tidegate reload``: let a running agent look at its state file now, and say what came of it.

Rule: the exit status is 0 exactly if what the file says is in force as a whole. For a client that is as it is
for ``tidegate apply``: the gateways that the newest generation has changed are reached, too.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from agent.process.loops import run
from schemas.reload_report import ReloadReport

from .complaint import ToldError
from .finding import found_agent
from .outcome import settle


def run_reload(state: Path | None, *, socket: Path | None, timeout: float, as_json: bool) -> int:
    """The command.

    :param timeout: seconds until it must be in force.
    :returns: the exit status.
    :raises TidegateError: if there is no agent to be found, if it does not answer, or if what the file says
        is not in force; what keeps it out of force has been printed then.
    """
    agent = found_agent(state, socket)
    report = run(partial(settle, agent, None, patience=timeout)).report
    if as_json:
        print(report.model_dump_json(indent=2))
    for problem in report.problems:
        print(problem.text, file=sys.stderr)
    for failed in report.failed:
        print(f"{failed.resource}: {failed.message}", file=sys.stderr)
    if not report.accepted:
        raise ToldError(_refused(report))
    if not report.in_force:
        raise ToldError(_not_in_force(report))
    if not as_json:
        print(f"generation {report.generation} is in force")
    return 0


def _refused(report: ReloadReport) -> str:
    problems = "1 problem" if len(report.problems) == 1 else f"{len(report.problems)} problems"
    return (
        f"the state has {problems} and is not used, generation {report.generation} still counts: "
        "mend it, then try again"
    )


def _not_in_force(report: ReloadReport) -> str:
    accepted = f"generation {report.generation} is accepted and not in force as a whole"
    if report.failed:
        return f"{accepted}: mend what failed, then try again; it is also tried again by itself"
    return f"{accepted} yet: look at it with tidegate status"
