"""A plan on a screen: what opens, changes and closes, and whom that reaches.

Rule: a line for each resource and each route, and never a change that is not shown.
The signs are those of the planner, so that no color is needed to read them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.text import Text

from schemas.plan_report import (
    PlannedChange,
    PlannedLead,
    PlannedRoute,
    PlannedSetting,
    PlannedVerb,
    PlanReport,
)

from .cells import counted, printable

_COLORS: Final = {PlannedVerb.OPEN: "green", PlannedVerb.UPDATE: "yellow", PlannedVerb.CLOSE: "red"}
_ONLY_SETTINGS: Final = frozenset({"egress"})  # without them, that it opens says nothing
_ANYBODY: Final = "default route"


def plan_lines(report: PlanReport) -> Iterator[Text]:
    """The plan from its first line to its sum."""
    for change in report.changes:
        yield _line(
            change.verb, f"{change.kind} {change.name}".strip(), _reach(change.finishing, change.dropped)
        )
        yield from _inside(change)
    for setting in report.settings:
        yield _line(_verb(setting), _setting(setting))
    for setting in report.restart:
        yield _line(PlannedVerb.UPDATE, f"{_setting(setting)} (from the next start of the agent on)")
    for problem in report.left_out:
        yield Text(printable(f"! left out: {problem}"), style="yellow")
    for warning in report.warnings:
        yield Text(printable(f"! {warning}"), style="yellow")
    if not report.is_empty or report.warnings:
        yield Text()
    yield Text(summary(report))


def summary(report: PlanReport) -> str:
    """The plan in one line."""
    if report.is_empty:
        return f"Nothing to do: {report.base} is like this already."
    counts = {verb: sum(change.verb is verb for change in report.changes) for verb in PlannedVerb}
    parts = [
        f"{counts[PlannedVerb.OPEN]} to open",
        f"{counts[PlannedVerb.UPDATE]} to change",
        f"{counts[PlannedVerb.CLOSE]} to close",
    ]
    if report.settings:
        parts.append(f"{counted(len(report.settings), 'setting')} to change")
    if report.restart:
        parts.append(f"{counted(len(report.restart), 'setting')} to take effect after a restart")
    finishing = sum(change.finishing for change in report.changes)
    dropped = sum(change.dropped for change in report.changes)
    reached = _connections(finishing, dropped) if report.live else "who is connected is not known"
    return f"Plan against {report.base}: {', '.join(parts)}; {reached}."


def _connections(finishing: int, dropped: int) -> str:
    if not finishing and not dropped:
        return "no live connection is touched"
    told = []
    if finishing:
        told.append(f"{counted(finishing, 'live connection')} may finish")
    if dropped:
        told.append(f"{counted(dropped, 'live connection')} will be cut")
    return ", ".join(told)


def _inside(change: PlannedChange) -> Iterator[Text]:
    if change.failure:
        yield Text(printable(f"      it failed before: {change.failure}"))
    if change.verb is PlannedVerb.UPDATE or change.kind in _ONLY_SETTINGS:
        for setting in change.settings:
            yield _line(_verb(setting), _setting(setting), indent=4)
    for lost in change.lost:
        what = f"the sessions of {lost.id} end"
        yield _line(PlannedVerb.CLOSE, what, _reach(0, lost.dropped), indent=4)
    for route in change.routes:
        yield _line(
            route.verb, f"route {route.tunnel}: {_route(route)}", _reach(route.finishing, 0), indent=4
        )
    if change.routes_kept:
        verb = "stays" if change.routes_kept == 1 else "stay"
        noun = "other route" if change.routes else "route"
        yield Text(f"      {counted(change.routes_kept, noun)} {verb}")


def _line(verb: PlannedVerb, what: str, reach: str = "", *, indent: int = 0) -> Text:
    line = Text(" " * indent)
    line.append(f"{verb.value} ", style=_COLORS[verb])
    line.append(printable(what))
    if reach:
        line.append(f"  ({reach})", style="bold")
    return line


def _reach(finishing: int, dropped: int) -> str:
    told = []
    if finishing:
        told.append(f"{counted(finishing, 'connection')} may finish")
    if dropped:
        told.append(f"{counted(dropped, 'connection')} cut")
    return ", ".join(told)


def _verb(setting: PlannedSetting) -> PlannedVerb:
    if setting.before is None:
        return PlannedVerb.OPEN
    return PlannedVerb.CLOSE if setting.after is None else PlannedVerb.UPDATE


def _setting(setting: PlannedSetting) -> str:
    match setting.before, setting.after:
        case str() as before, str() as after if before == after:
            return f"{setting.name}: another one ({after})"
        case str() as before, str() as after:
            return f"{setting.name}: {before} -> {after}"
        case before, after:
            return f"{setting.name}: {before or after}"


def _route(route: PlannedRoute) -> str:
    match route.before, route.after:
        case PlannedLead() as before, PlannedLead() as after:
            return ", ".join(_differences(before, after))
        case before, after:
            lead = after or before
            return "" if lead is None else f"{_whom(lead)} -> {_where(lead)}"


def _differences(before: PlannedLead, after: PlannedLead) -> Iterator[str]:
    if before.hostname != after.hostname:
        yield f"hostname {_whom(before)} -> {_whom(after)}"
    for name in ("client", "balance", "service", "proxy_protocol"):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            yield f"{name} {_text(old)} -> {_text(new)}"


def _whom(lead: PlannedLead) -> str:
    return " ".join(lead.hostname) or _ANYBODY


def _where(lead: PlannedLead) -> str:
    protocol = "" if lead.proxy_protocol == "off" else f" (PROXY {lead.proxy_protocol})"
    in_turn = "" if lead.balance == "preference" else f" by {lead.balance}"
    return f"{' or '.join(lead.client)}/{lead.service}{in_turn}{protocol}"


def _text(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else " or ".join(value)
