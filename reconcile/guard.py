"""Which changes of the state files are more likely an accident than a wish.

Rule: this file alone decides what is refused although it is valid. It compares
what was accepted with what came next and nothing else, and every refusal says how
to get past it: ``allow_empty: true``. An empty file needs no guard: it is not valid.
"""

from __future__ import annotations

from schemas.errors import Place, Problem
from schemas.state import ClientState, GatewayState, State

_LINE_ENDS = (b"\n", b"\r")
_HOW = "if that is meant, write allow_empty: true"


def guard(previous: State | None, candidate: State) -> Problem | None:
    """Refuse a state that would take away everything the last accepted one offered.

    Decision: on a gateway only tunnels written in files count. Those declared
    through the API are removed by a request that somebody made on purpose, and must
    neither need a word in the file nor hide that the file has lost all of its own.
    """
    if previous is None or candidate.allow_empty:
        return None
    match previous, candidate:
        case GatewayState(), GatewayState():
            return _lost(_written(previous), _written(candidate), "tunnel")
        case ClientState(), ClientState():
            return _lost(len(previous.services), len(candidate.services), "service")
        case _:
            return None  # another role: the parser has refused that already


def check_truncated(previous: bytes | None, candidate: bytes, *, name: str) -> Problem | None:
    """Refuse a file that stops in the middle of a line, as half a copy does.

    It does if its last line has no end although that of the accepted text had one,
    or if it is the beginning of the accepted text and breaks off within a line. A
    file that stops at the end of a line looks like an edit, and whether it is valid
    is for the parser to say.
    """
    if previous is None or not candidate or previous == candidate:
        return None
    if candidate[-1:] in _LINE_ENDS or not (
        previous[-1:] in _LINE_ENDS or _breaks_off_within_a_line(previous, candidate)
    ):
        return None
    if previous.rstrip(b"\r\n") == candidate:
        return None  # an editor took the last line end away, and nothing else
    line = candidate.count(b"\n") + 1
    tail = candidate[candidate.rfind(b"\n") + 1 :]
    message = (
        "the file stops in the middle of a line, as half a copy does; "
        f"write it whole, with a line end, or {_HOW}"
    )
    col = len(tail.decode(errors="replace")) + 1
    return Problem(place=Place(file=name, line=line, col=col), message=message)


def _breaks_off_within_a_line(previous: bytes, candidate: bytes) -> bool:
    rest = previous[len(candidate) :]
    return previous.startswith(candidate) and rest[:1] not in (*_LINE_ENDS, b"")


def _written(state: GatewayState) -> int:
    return sum(tunnel.declared_by is None for tunnel in state.tunnels)


def _lost(before: int, after: int, noun: str) -> Problem | None:
    if before == 0 or after > 0:
        return None
    all_of_them = f"its only {noun}" if before == 1 else f"all of its {before} {noun}s"
    return Problem(place=None, message=f"the new state removes {all_of_them}; {_HOW}")
