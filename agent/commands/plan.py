"""``tidegate plan``: what files would change, asked of a running agent or worked out here.

Rule: the exit status says what a script wants to know: 0 for nothing to do, 2 for
changes, 1 for files that would be refused or an agent that cannot be asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console

from agent.api.client import LONG_PATIENCE, NoAgentError, fetch_plan
from agent.offline import Whereabouts, is_fragment, read_offline, read_texts, refused, understand
from agent.past.state_change import named_files
from agent.planning import live_settings, plan_report, role_of, settings_of, waiting_settings
from agent.process.loops import run
from agent.view.plan import plan_lines
from reconcile.desired import resources
from reconcile.observed import Observed, Phase
from reconcile.preview import Live, preview
from reconcile.reading import StateText
from schemas.errors import TidegateError
from schemas.plan_report import PlanReport

from .finding import found_agent

CHANGES: Final = 2


def run_plan(
    new: Path,
    *,
    to: Path | None,
    state: Path | None = None,
    socket: Path | None = None,
    offline: bool = False,
    as_json: bool = False,
) -> int:
    """The command.

    :param new: a file, ``-`` for standard input, or a directory of fragments.
    :param to: what it would replace: the state, or a fragment of it; None if it is the state itself.
    :param state: the state of the agent, if ``to`` is a fragment of it.
    :param offline: against the state as it is written, or against nothing, and not against an agent.
    :returns: the exit status.
    :raises StateError: if the files would be refused.
    :raises TidegateError: if something cannot be read, or the agent cannot be asked.
    """
    place = state or to
    if place is None:
        texts = read_texts(new)
    else:
        texts = tuple(named_files(new, to=to or place, state=place).values())
    if offline:
        report = plan_offline(texts, new=new, to=place)
    else:
        report = _plan_online(texts, place=place or new, socket=socket)
    if as_json:
        print(report.model_dump_json(indent=2))
    else:
        print_plan(report)
    return 0 if report.is_empty else CHANGES


def _plan_online(texts: Sequence[StateText], *, place: Path, socket: Path | None) -> PlanReport:
    try:
        return plan_of(found_agent(place, socket), texts)
    except NoAgentError as error:
        wanted = understand(texts, place=place)
        if is_fragment(wanted, place):  # which nobody could run: its agent is that of the directory
            raise refused(wanted.problems, wanted, place) from None
        raise NoAgentError(f"{error}; or plan without one, with --offline") from error


def plan_of(agent: Whereabouts, texts: Sequence[StateText], *, patience: float = LONG_PATIENCE) -> PlanReport:
    """What an agent says of files in the place of its own.

    :param patience: seconds that it may take.
    :raises StateError: if it would refuse them.
    :raises TidegateError: if it cannot be asked.
    """
    files = [(text.name, _decoded(text)) for text in texts]
    return run(partial(fetch_plan, agent.socket, files, start=agent.start, patience=patience))


def plan_offline(texts: Sequence[StateText], *, new: Path, to: Path | None) -> PlanReport:
    """What files would change in another state as it is written, or where nothing runs.

    :raises StateError: if the files are not valid.
    """
    wanted = understand(texts, place=new if to is None else to)
    if wanted.state is None:
        raise refused(wanted.problems, wanted, place=new if to is None else to)
    role, desired = role_of(wanted.state), resources(wanted.state)
    if to is None:
        return plan_report(preview(desired, {}, Live()), role=role, base="nothing", live=True)
    before = read_offline(to).state
    if before is None:
        raise TidegateError(f"{to} is not valid, so nothing can be compared with it: run tidegate check {to}")
    if role_of(before) is not role:
        raise TidegateError(
            f"{new} is for a {role.value} and {to} for a {role.other.value}; name two of a kind"
        )
    runs = {key: Observed(spec=spec, phase=Phase.OPEN) for key, spec in resources(before).items()}
    return plan_report(
        preview(desired, runs, Live()),
        role=role,
        base=str(to),
        settings=live_settings(settings_of(before), settings_of(wanted.state)),
        restart=waiting_settings(settings_of(before), settings_of(wanted.state)),
    )


def _decoded(text: StateText) -> str:
    try:
        return text.data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TidegateError(f"{text.name} is not UTF-8 at byte {error.start}; save it in UTF-8") from error


def print_plan(report: PlanReport) -> None:
    """Show a plan to a person."""
    console = Console()
    for line in plan_lines(report):
        console.print(line, soft_wrap=True)
