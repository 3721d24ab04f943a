"""Putting files in place of a running agent's, from the check to what comes of it.

Rule: this is the only way in which a command changes an operator's files, in this
order, and whatever is wrong before the fifth step leaves everything as it was::

    1. one at a time: whoever else is at it is named
    2. the files are checked as ``tidegate check`` does, in their place
    3. the agent says what they would change, and that no other change is pending
    4. it takes on to undo the change, if that is asked for
    5. the files are put in place, all of them or none
    6. the agent applies them, and what came of it is told

The command may die between any two steps: before the fifth nothing has happened, and
after it all of it has.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from agent.api.client import (
    PATIENCE,
    AgentUnreachableError,
    NoAgentError,
    arm_confirmation,
    fetch_confirmation,
    undo_change,
)
from agent.keys.certificates import utc_now
from agent.offline import OfflineState, Whereabouts, agent_in, read_offline, refused, understand
from agent.past.paths import admin_socket_path
from agent.past.state_change import StateChange, check_untouched
from agent.past.undoing import finish_others, note_path
from agent.planning import role_of, settings_of
from agent.process.loops import run
from agent.view.cells import printable
from reconcile.journal import NOTE, digest_of_bytes
from reconcile.placing import NotPlaceableError, access_of, check_placeable, explain
from reconcile.taking_turns import turn
from reconcile.together import Change, replace_together
from schemas.apply_report import ApplyReport, Placing
from schemas.confirmation import ConfirmationRequest, ConfirmedFile, Stage
from schemas.errors import TidegateError
from schemas.plan_report import PlanReport
from schemas.state import State

from .check import check_files, without_effect
from .complaint import ToldError
from .finding import agent_of
from .latest_change import Comparison
from .outcome import Settled, outcomes, settle
from .plan import plan_of, print_plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How files are put in place. ``command`` is whose doing that is, for others who would do it too."""

    command: str
    socket: Path | None = None
    timeout: float = 30.0  # seconds until the files must be in force
    confirm_within: float | None = None  # seconds until they must be confirmed
    offline: bool = False  # no agent is asked or waited for
    as_json: bool = False


def carry_out(change: StateChange, terms: Terms, *, agent: Whereabouts | None = None) -> int:
    """Do all of it, and tell what came of it.

    :param agent: whose files they are, if it was looked for already.
    :returns: the exit status: 0 if the files are in force, or in place where no agent is asked.
    :raises StateError: if the files are not valid; nothing was changed.
    :raises TidegateError: if anything else is wrong; the message says whether the files are in place.
    """
    asked, plan = None, None
    try:
        with ExitStack() as stack:
            _take_turn(stack, change.state, terms.command)
            written = _written(change.state)
            before = None if written is None else written.state
            wanted = _check(change, before)
            if not terms.offline:
                asked = agent or _agent(change.state, written, terms.socket)
                plan = _ask_agent(change, asked, terms)
            until = _place(change, wanted, asked, terms)
    except _NotPlacedError:
        if asked is not None and terms.confirm_within is not None:
            with suppress(TidegateError):  # then it finds out when the time is up
                run(partial(undo_change, asked.socket, start=asked.start))
        raise
    report = ApplyReport(
        state=str(change.state),
        placing=Placing.PLACED if change.changes else Placing.UNCHANGED,
        files=tuple(one.name for one in change.changes),
        plan=plan,
        confirm_until=until,
    )
    if asked is None:
        return _tell_placed(report, terms)
    return follow(report, asked, before=before, wanted=wanted, terms=terms)


def follow(
    report: ApplyReport, agent: Whereabouts, *, before: State | None, wanted: State | None, terms: Terms
) -> int:
    """Wait until the agent has applied files that are in place, and tell what came of it.

    :param report: how far it is.
    :param before: what the files said until now, and what they say; None if they are not valid. Where no file
        was touched, what the generation that counts has changed is waited for.
    :returns: the exit status, which is 0.
    :raises TidegateError: if they are not in force.
    """
    change = Comparison(before=before, after=wanted) if report.files else None
    try:
        settled = run(partial(settle, agent, change, patience=terms.timeout))
    except TidegateError as error:
        if terms.as_json:
            print(report.model_copy(update={"problems": (str(error),)}).model_dump_json(indent=2))
        raise ToldError(f"{_in_place(report)}, but {error}") from error
    return _tell(_with_outcome(report, settled, before, wanted), terms)


class _NotPlacedError(TidegateError):
    """The files could not be put in place."""


def written_state(state: Path) -> State | None:
    """What the files of a state say; None if there are none, or they are not valid."""
    written = _written(state)
    return None if written is None else written.state


def _written(state: Path) -> OfflineState | None:
    return read_offline(state) if state.exists() else None


def _take_turn(stack: ExitStack, state: Path, command: str) -> None:
    """From now on nobody else is at it, and what a command has left that died counts for all."""
    try:
        stack.enter_context(turn(state, holder=command))
        finish_others(state)
    except OSError as error:
        raise explain(state, error) from error


def _check(change: StateChange, before: State | None) -> State:
    """What the files will say.

    :raises StateError: if they, or the keys that they name, have problems.
    """
    checked: OfflineState = understand(change.texts, place=change.state)
    found = check_files(checked, now=utc_now())
    problems = (*checked.problems, *found.problems)
    if checked.state is None or problems:
        raise refused(problems, checked, change.state)
    for warning in (*without_effect(checked), *found.warnings):
        print(printable(str(warning)), file=sys.stderr)
    if before is not None and role_of(before) is not role_of(checked.state):
        raise TidegateError(
            f"{change.label} is for a {role_of(checked.state).value} and {change.state} for a "
            f"{role_of(before).value}: nothing was changed"
        )
    return checked.state


def _agent(state: Path, written: OfflineState | None, socket: Path | None) -> Whereabouts:
    if socket is not None or written is None:
        return agent_of(state, socket)
    return agent_in(state, written)  # ten thousand tunnels need not be read again


def _ask_agent(change: StateChange, agent: Whereabouts, terms: Terms) -> PlanReport:
    """What the agent says of the files.

    :raises TidegateError: if it would not take them now.
    """
    try:
        plan = plan_of(agent, change.texts, patience=max(PATIENCE, terms.timeout))
        pending = run(partial(fetch_confirmation, agent.socket, start=agent.start))
    except NoAgentError as error:
        raise TidegateError(
            f"{error}; or only put the file in place, with --offline; nothing was changed"
        ) from error
    except AgentUnreachableError as error:
        raise TidegateError(f"{error}; nothing was changed") from error
    if not terms.as_json:
        print_plan(plan)
    if change.changes and pending.stage in (Stage.PENDING, Stage.RESTORING):
        raise TidegateError(f"{pending.message}, or undo it with tidegate rollback; nothing was changed now")
    return plan


def _place(change: StateChange, wanted: State, agent: Whereabouts | None, terms: Terms) -> datetime | None:
    """Put the files in place, after the agent has taken on to undo that, if it is to.

    :returns: until when the change must be confirmed.
    :raises TidegateError: if they are not in place.
    """
    for one in change.changes:
        check_placeable(change.directory / one.name)
    check_untouched(change)
    if not change.changes:
        return None
    if agent is None and note_path(change.state).exists():
        raise TidegateError(
            "an agent still waits for a change to be confirmed: start it, and keep the change with "
            "tidegate confirm or undo it with tidegate rollback"
        )
    until = None
    if agent is not None and terms.confirm_within is not None:
        if terms.socket is None and admin_socket_path(change.state, settings_of(wanted)) != agent.socket:
            raise TidegateError(
                f"{change.label} moves the agent's socket, where tidegate confirm would not find it before "
                "the next start: change that without --confirm-within; nothing was changed"
            )
        until = _arm(change, agent, terms.confirm_within)
    undo = [
        replace(one, before=one.after, after=one.before, access=access_of(change.directory / one.name))
        for one in change.changes
    ]
    try:
        replace_together(change.directory, change.changes)
    except (OSError, NotPlaceableError) as error:
        why: TidegateError = (
            explain(change.directory / change.changes[0].name, error) if isinstance(error, OSError) else error
        )
        if (change.directory / NOTE).exists():
            raise TidegateError(
                f"{why}; but the change counts from now on: run this again to end it"
            ) from error
        raise _NotPlacedError(f"{why}; nothing was changed") from error
    if agent is not None and until is not None:
        _make_sure(change, agent, undo)
    return until


def _arm(change: StateChange, agent: Whereabouts, within: float) -> datetime | None:
    request = ConfirmationRequest(
        within=within,
        files=tuple(
            ConfirmedFile(name=one.name, before=_digest(one.before), after=_digest(one.after))
            for one in change.changes
        ),
    )
    return run(partial(arm_confirmation, agent.socket, request, start=agent.start)).deadline


def _digest(data: bytes | None) -> str | None:
    return None if data is None else digest_of_bytes(data)


def _make_sure(change: StateChange, agent: Whereabouts, undo: Sequence[Change]) -> None:
    """Whoever was held up between the two may come too late: the agent has forgotten the change by then.

    :raises TidegateError: if so; the old files are back.
    """
    try:
        report = run(partial(fetch_confirmation, agent.socket, start=agent.start))
    except AgentUnreachableError:
        return  # what it has taken on it knows again when it is started
    if report.stage not in (Stage.PENDING, Stage.CONFIRMED):
        replace_together(change.directory, undo)
        raise TidegateError("the time to confirm was over before the files were in place; they are as before")


def _with_outcome(
    report: ApplyReport, settled: Settled, before: State | None, wanted: State | None
) -> ApplyReport:
    come = settled.report
    return report.model_copy(
        update={
            "generation": come.generation,
            "accepted": come.accepted,
            "in_force": come.accepted and come.in_force,
            # Where the file in place was broken, the plan knows better what changes.
            "outcomes": () if _changes_nothing(report) else tuple(outcomes(before, wanted, settled.status)),
            "problems": tuple(problem.text for problem in come.problems),
            "failed": come.failed,
        }
    )


def _changes_nothing(report: ApplyReport) -> bool:
    return report.plan is not None and report.plan.is_empty


def _tell_placed(report: ApplyReport, terms: Terms) -> int:
    if terms.as_json:
        print(report.model_dump_json(indent=2))
    else:
        print(f"{_in_place(report)}; no agent was asked")
    return 0


def _tell(report: ApplyReport, terms: Terms) -> int:
    if terms.as_json:
        print(report.model_dump_json(indent=2))
    else:
        for outcome in report.outcomes:
            print(printable(f"{outcome.verb} {outcome.name}: {outcome.message}"))
    for problem in report.problems:
        print(printable(problem), file=sys.stderr)
    told = " ".join(outcome.message for outcome in report.outcomes)
    for failed in report.failed:
        if failed.message not in told:
            print(printable(f"{failed.resource}: {failed.message}"), file=sys.stderr)
    confirm = ""
    if report.confirm_until is not None:
        confirm = f"; keep it with tidegate confirm by {report.confirm_until:%H:%M:%S} UTC, or it is undone"
    if report.in_force:
        if not terms.as_json:
            print(f"{_in_place(report)}, and generation {report.generation} is in force{confirm}")
        return 0
    if not report.accepted:
        raise ToldError(
            f"{_in_place(report)}, and the agent does not use it, generation {report.generation} still "
            f"counts: mend it, or return to that with tidegate rollback{confirm}"
        )
    how = "" if report.failed else f" after {terms.timeout:g} s"
    raise ToldError(
        f"{_in_place(report)}, and generation {report.generation} is not in force as a whole{how}: "
        f"mend what failed, or return with tidegate rollback{confirm}"
    )


def _in_place(report: ApplyReport) -> str:
    if report.placing is Placing.UNCHANGED:
        return f"{report.state} is like this already"
    files = (
        f"{len(report.files)} files of {report.state} are" if len(report.files) > 1 else f"{report.state} is"
    )
    return f"{files} in place"
