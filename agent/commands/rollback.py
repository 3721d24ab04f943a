"""``tidegate rollback``: put the operator's files of an earlier generation in place again.

Rule: this file decides which generation is meant; its files go the way of any others,
through ``changing``. What was declared through the API stays as it is now.

Without a number, a change that is to be confirmed is undone. Otherwise, if the files
are not those of the state that counts, for example because they have a mistake, these
come back; and if they are, those of the newest generation before it that has others:
what only the API has changed is nothing to return to.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from agent.api.client import RefusedError, fetch_confirmation, fetch_generation, undo_change
from agent.offline import Whereabouts, find_state
from agent.past.report import generation_report, history_report
from agent.past.state_change import StateChange, change_to
from agent.process.loops import run
from reconcile.history import NotKeptError
from reconcile.placing import Access
from reconcile.reading import StateText, files_directory
from schemas.apply_report import ApplyReport, Placing
from schemas.confirmation import Stage
from schemas.errors import TidegateError
from schemas.history_report import GenerationReport, HistoryReport, KeptFile

from .changing import Terms, carry_out, follow, written_state
from .finding import agent_of
from .history import kept_states


def run_rollback(generation: int | None, *, state: Path | None, terms: Terms) -> int:
    """The command.

    :param generation: its number; None as told above.
    :param state: whose files; by default those of the only state in the current directory.
    :returns: the exit status.
    :raises TidegateError: if they are not in force; the message says whether they are in place.
    """
    whole = find_state(Path()) if state is None else state
    agent = agent_of(whole, terms.socket)
    if generation is None and not terms.offline:
        pending = run(partial(fetch_confirmation, agent.socket, start=agent.start))
        if pending.stage in (Stage.PENDING, Stage.RESTORING):
            return _undo(whole, agent, pending.files, terms)
    change = _change(whole, agent, generation, offline=terms.offline)
    if not terms.as_json:
        print(f"returning to {change.label}")
        if not change.changes:
            print("its files are in place already, and what was declared through the API is not rolled back")
    return carry_out(change, terms, agent=agent)


def _undo(state: Path, agent: Whereabouts, files: tuple[str, ...], terms: Terms) -> int:
    """Let the agent put back what a change replaced that is to be confirmed, and see what comes of it."""
    before = written_state(state)
    undone = run(partial(undo_change, agent.socket, start=agent.start))
    if undone.stage is not Stage.RESTORED:
        raise TidegateError(undone.message)
    if not terms.as_json:
        print(undone.message)
    report = ApplyReport(state=str(state), placing=Placing.PLACED, files=files)
    return follow(report, agent, before=before, wanted=written_state(state), terms=terms)


def _change(state: Path, agent: Whereabouts, generation: int | None, *, offline: bool) -> StateChange:
    if generation is not None:
        return _back_to(state, _fetch(agent, generation, offline=offline))
    kept = _report(agent, offline=offline)
    current = next((one for one in kept.generations if one.accepted), None)
    if current is None and offline:
        current = next(iter(kept.generations), None)
    older = (one for one in kept.generations if current is None or one.generation < current.generation)
    for one in (*filter(None, [current]), *older):
        change = _back_to(state, _fetch(agent, one.generation, offline=offline))
        if change.changes:
            return change
    raise TidegateError("no earlier state was kept: see which are with tidegate history")


def _report(agent: Whereabouts, *, offline: bool) -> HistoryReport:
    if not offline:
        return kept_states(agent)
    return history_report(_directory(agent), 0, 0)


def _fetch(agent: Whereabouts, generation: int, *, offline: bool) -> GenerationReport:
    try:
        if offline:
            return generation_report(_directory(agent), generation)
        return run(partial(fetch_generation, agent.socket, generation, start=agent.start))
    except RefusedError as error:
        raise TidegateError(error.detail) from error
    except NotKeptError as error:
        raise TidegateError(str(error)) from error


def _directory(agent: Whereabouts) -> Path:
    if agent.history is None:
        raise TidegateError("name the state with --state, and not only its socket")
    return agent.history


def _back_to(state: Path, kept: GenerationReport) -> StateChange:
    files = {file.name: file for file in kept.files if not file.owned}
    if not state.is_dir() and set(files) != {state.name}:
        names = ", ".join(sorted(files)) or "no file"
        raise TidegateError(
            f"generation {kept.generation} is {names}, which cannot take the place of {state}: "
            "put its files in place yourself, GET /v1/history has them"
        )
    label = f"generation {kept.generation}"
    texts = {
        name: StateText(
            name=f"{label}/{name}",
            directory=str(files_directory(state)),
            data=file.text.encode(),
            access=_access(file),
        )
        for name, file in files.items()
    }
    return change_to(state, texts, label=label)


def _access(file: KeptFile) -> Access | None:
    if file.mode is None or file.owner is None or file.group is None:
        return None
    return Access(mode=file.mode, owner=file.owner, group=file.group)
