"""Whether ports could be opened, asked before anything is changed.

Rule: this saves trouble and decides nothing. A turn of the loop frees ports before
it opens others, so a declaration that turns out to be impossible would close a port
that visitors use, if only until it is undone. The usual reason, a port that another
program has, is found out here first; whether a port is open in the end is for the
loop to say, since a moment later the port may be gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from agent.bind import bind
from reconcile.actuator import ActionError
from reconcile.desired import ControlSpec, ListenerSpec, ManagementSpec
from reconcile.observed import ObservedState, Phase
from schemas.names import ListenAddress
from schemas.state import Tunnel

from .problems import RequestProblem

#: Tries a port and leaves nothing behind.
#: :raises ActionError: if it cannot be opened.
Probe: TypeAlias = Callable[[ListenAddress], None]


def probe_port(address: ListenAddress) -> None:
    """Open the port and close it again.

    :raises ActionError: if it cannot be opened; the message says why.
    """
    bind(address).close()


def unavailable(asked: Sequence[Tunnel], observed: ObservedState, probe: Probe) -> tuple[RequestProblem, ...]:
    """Every port that is asked for, is not open, and cannot be opened.

    A port number that we use on any address is not tried: the declaration may be
    about to give that address up.
    """
    ours = {
        seen.spec.address.port
        for seen in observed.values()
        if isinstance(seen.spec, ControlSpec | ListenerSpec | ManagementSpec)
        and seen.phase is not Phase.FAILED
    }
    first = {address: index for index in reversed(range(len(asked))) for address in asked[index].listen}
    problems: list[RequestProblem] = []
    for address, index in sorted(first.items(), key=lambda item: item[1]):
        if address.port in ours:
            continue
        try:
            probe(address)
        except ActionError as error:
            problems.append(RequestProblem(path=(index,), message=str(error)))
    return tuple(problems)
