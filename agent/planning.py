"""What other files would change, asked of a running agent.

Rule: nothing is changed here, and nothing is decided that the reconcile room has not
decided: a proposal is judged by the source and previewed against what runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from anyio import to_thread

from reconcile.desired import Key, Spec, resources
from reconcile.fine_turns import fine_turns
from reconcile.loop import Reconciler, ReconcilerStoppedError
from reconcile.observed import ObservedState
from reconcile.preview import Change, Live, RouteChange, preview
from reconcile.reading import StateText, UnreadableError
from reconcile.source import ConsideringSource
from reconcile.spec_text import Setting
from schemas.errors import StateError
from schemas.log_level import LogLevel
from schemas.plan_report import (
    LostClient,
    PlannedChange,
    PlannedLead,
    PlannedRoute,
    PlannedSetting,
    PlannedVerb,
    PlanReport,
)
from schemas.quantities import spell_duration
from schemas.roles import Role
from schemas.state import ClientState, GatewayState, State

from .restart import LIVE, Settings, needs_restart


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedFile:
    """A file that somebody thinks of putting in the place of a state file."""

    name: str
    text: str


async def plan_files(
    files: Sequence[ProposedFile],
    *,
    path: Path,
    source: ConsideringSource,
    started_with: Settings,
    reconciler: Reconciler,
    observe: Callable[[], ObservedState],
    live: Callable[[Mapping[Key, Spec]], Awaitable[Live]],
    warn: Callable[[Mapping[Key, Spec]], Iterable[str]] = lambda desired: (),
) -> PlanReport:
    """What would be done if these files were the state of the agent.

    :param path: where its state is, a file or a directory.
    :param started_with: what it keeps until it is started again.
    :param live: the connections that are open, given the resources that are wanted.
    :param warn: what of that would not work here.
    :raises StateError: if the files would be refused.
    :raises ReconcilerStoppedError: if the agent is stopping: nothing of them would come into force.
    """
    if reconciler.is_stopped:
        raise ReconcilerStoppedError
    directory = str(path if await to_thread.run_sync(path.is_dir) else path.parent)
    texts = [StateText(name=file.name, directory=directory, data=file.text.encode()) for file in files]
    try:
        considered = await source.consider(texts)
    except UnreadableError as error:
        raise StateError([error.problem]) from error
    if considered.state is None:
        raise StateError(considered.problems)
    with fine_turns():
        desired = await to_thread.run_sync(resources, considered.state)
        open_now = await live(desired)
        changes = await to_thread.run_sync(partial(preview, desired, observe(), open_now))
    status = reconciler.status
    wanted = settings_of(considered.state)
    return plan_report(
        changes,
        role=role_of(considered.state),
        base=f"the running agent (generation {status.generation})",
        live=True,
        generation=status.generation,
        digest=status.digest,
        settings=() if status.state is None else live_settings(settings_of(status.state), wanted),
        restart=waiting_settings(started_with, wanted),
        left_out=[str(problem) for problem in considered.problems],
        warnings=(*warn(desired), *open_now.doubts),
    )


def live_settings(before: Settings, after: Settings) -> tuple[Setting, ...]:
    """What would change at once and is no part of a resource."""
    return _differing(before, after, LIVE)


def waiting_settings(before: Settings, after: Settings) -> tuple[Setting, ...]:
    """What would be in force from the next start on."""
    return _differing(before, after, needs_restart(before, after))


def _differing(before: Settings, after: Settings, names: Iterable[str]) -> tuple[Setting, ...]:
    texts = ((name, _text(before, name), _text(after, name)) for name in names)
    return tuple(Setting(name=name, before=old, after=new) for name, old, new in texts if old != new)


def _text(settings: Settings, name: str) -> str | None:
    match getattr(settings, name, None):
        case float() as seconds:
            return spell_duration(seconds)
        case LogLevel(value=level):
            return level
        case text:
            return text


def settings_of(state: State) -> Settings:
    """The section of the role."""
    match state:
        case GatewayState():
            return state.gateway
        case ClientState():
            return state.client


def role_of(state: State) -> Role:
    """Whose state it is."""
    return Role.GATEWAY if isinstance(state, GatewayState) else Role.CLIENT


def plan_report(
    changes: Iterable[Change],
    *,
    role: Role,
    base: str,
    live: bool = False,
    generation: int = 0,
    digest: str = "",
    settings: Iterable[Setting] = (),
    restart: Iterable[Setting] = (),
    left_out: Iterable[str] = (),
    warnings: Iterable[str] = (),
) -> PlanReport:
    """A preview as a value that can be sent."""
    return PlanReport(
        role=role.value,
        base=base,
        live=live,
        generation=generation,
        digest=digest,
        changes=tuple(_change(change) for change in changes),
        settings=tuple(_setting(setting) for setting in settings),
        restart=tuple(_setting(setting) for setting in restart),
        left_out=tuple(left_out),
        warnings=tuple(warnings),
    )


def _change(change: Change) -> PlannedChange:
    return PlannedChange(
        verb=PlannedVerb(change.verb.value),
        kind=change.key.kind.value,
        name=change.key.name,
        settings=tuple(_setting(setting) for setting in change.settings),
        routes=tuple(_route(route) for route in change.routes),
        routes_kept=change.routes_kept,
        lost=tuple(LostClient(id=client, dropped=count) for client, count in change.lost),
        failure=change.failure,
        finishing=change.finishing,
        dropped=change.dropped,
    )


def _setting(setting: Setting) -> PlannedSetting:
    return PlannedSetting(name=setting.name, before=setting.before, after=setting.after)


def _route(change: RouteChange) -> PlannedRoute:
    before, after = (
        PlannedLead(
            hostname=route.hostnames,
            client=route.clients,
            service=route.service,
            proxy_protocol=route.proxy_protocol.value,
            balance=route.balance.value,
        )
        if route is not None
        else None
        for route in (change.before, change.after)
    )
    return PlannedRoute(
        verb=PlannedVerb(change.verb.value),
        tunnel=change.tunnel,
        before=before,
        after=after,
        finishing=change.finishing,
    )
