"""What a client is told of its tunnels.

Rule: pure. A tunnel is in force when every port of it is open and leads there, and a client
is told so no earlier; while anything is under way nothing is said.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

from reconcile.desired import ListenerSpec, listener_key, route_of
from reconcile.observed import ObservedState, Phase
from schemas.messages import MAX_TEXT, TunnelOutcome
from schemas.state import Tunnel

from .own_tunnels import Claim, NotUnderstood
from .room import Merged

# Bytes of a problem, so that what came of as many tunnels as there may be fits into one message.
_MANY: Final = 100
_SHORT: Final = 220

_MOST_LOGGED: Final = 20  # of either kind; a client can have others every second, and disks are finite


def outcomes_of(
    declared: Sequence[Claim | NotUnderstood], merged: Merged, observed: ObservedState
) -> tuple[TunnelOutcome, ...] | None:
    """What came of each; None: that is not known of all of them yet."""
    limit = MAX_TEXT if len(declared) <= _MANY else _SHORT
    outcomes: list[TunnelOutcome] = []
    for one in declared:
        problem = _problem(one, merged, observed)
        if problem is None:
            return None
        outcomes.append(TunnelOutcome(name=one.own, problem=_shortened(problem, limit)))
    return tuple(outcomes)


def _problem(one: Claim | NotUnderstood, merged: Merged, observed: ObservedState) -> str | None:
    """ "" if it is in force, None if that is not known yet."""
    match one:
        case NotUnderstood(problem=problem):
            return problem
        case Claim(tunnel=tunnel) if tunnel.name in merged.added:
            return standing(tunnel, observed)
        case Claim(tunnel=tunnel):
            return merged.problems.get(tunnel.name)


def standing(tunnel: Tunnel, observed: ObservedState) -> str | None:
    """What is wrong with the ports of a tunnel that is desired, "" if nothing is; None: not known yet."""
    route = route_of(tunnel)
    seen = [observed.get(listener_key(address)) for address in tunnel.listen]
    for one in seen:
        if one is not None and one.phase is Phase.FAILED:
            return one.message or "its port could not be opened; the gateway's log says why"
    is_open = all(
        one is not None
        and one.phase is Phase.OPEN
        and isinstance(one.spec, ListenerSpec)
        and one.spec.carries(route)
        for one in seen
    )
    return "" if is_open else None


def spell_outcomes(outcomes: Iterable[TunnelOutcome]) -> dict[str, list[str]]:
    """As a line of the log has them."""
    told = list(outcomes)
    return {
        "in_force": _first([outcome.name for outcome in told if not outcome.problem]),
        "problems": _first([f"{outcome.name}: {outcome.problem}" for outcome in told if outcome.problem]),
    }


def _first(texts: list[str]) -> list[str]:
    more = len(texts) - _MOST_LOGGED
    return texts if more <= 0 else [*texts[:_MOST_LOGGED], f"and {more} more"]


def _shortened(text: str, limit: int) -> str:
    """As much of the text as has so many bytes in a message."""
    if len(text) <= limit and len(json.dumps(text)) <= limit:
        return text
    # Not one character after the other: it quotes what a client has made up, and is looked at in every turn.
    count = bisect_right(range(limit), limit, key=lambda size: len(json.dumps(text[:size]))) - 1
    return f"{text[: count - 1]}…"
