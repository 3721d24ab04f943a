"""Whether ports could be opened, asked before anything is changed.

Rule: this saves trouble and decides nothing. A turn of the loop frees ports before
it opens others, so a declaration that turns out to be impossible would close a port
that visitors use, if only until it is undone. The usual reason, a port that another
program has, is found out here first; whether a port is open in the end is for the
loop to say, since a moment later the port may be gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Final, TypeAlias

import anyio.lowlevel

from agent.process.bind import bind
from agent.process.descriptors import too_many
from reconcile.actuator import ActionError
from reconcile.desired import ControlSpec, ListenerSpec, ManagementSpec
from reconcile.observed import ObservedState, Phase
from schemas.names import ListenAddress
from schemas.state import Tunnel

from .problems import MAX_PROBLEMS, RequestProblem

#: Ports that are tried without a pause, in about half a millisecond. Between these visitors come in.
STEP: Final = 50

#: Tries a port and leaves nothing behind.
#: :raises ActionError: if it cannot be opened.
Probe: TypeAlias = Callable[[ListenAddress], None]

#: Says for how many more ports there is room; None if nothing limits them.
Room: TypeAlias = Callable[[], int | None]


def probe_port(address: ListenAddress) -> None:
    """Open the port and close it again.

    :raises ActionError: if it cannot be opened; the message says why.
    """
    bind(address).close()


async def unavailable(
    asked: Sequence[Tunnel], observed: ObservedState, probe: Probe
) -> tuple[RequestProblem, ...]:
    """Every port that is asked for, is not open, and cannot be opened; no more of them than are told.

    A port number that we use on any address is not tried: the declaration may be
    about to give that address up.
    """
    ours = {
        seen.spec.address.port
        for seen in observed.values()
        if isinstance(seen.spec, ControlSpec | ListenerSpec | ManagementSpec)
        and seen.phase is not Phase.FAILED
    }
    first = _first(asked)
    problems: list[RequestProblem] = []
    tried = [item for item in sorted(first.items(), key=itemgetter(1)) if item[0].port not in ours]
    for number, (address, index) in enumerate(tried):
        if number % STEP == 0:
            await anyio.lowlevel.checkpoint()
        if len(problems) > MAX_PROBLEMS:
            break
        try:
            probe(address)
        except ActionError as error:
            problems.append(RequestProblem(path=(index,), message=str(error)))
    return tuple(problems)


def overflowing(
    asked: Sequence[Tunnel], others: Iterable[Tunnel], observed: ObservedState, room: Room
) -> tuple[RequestProblem, ...]:
    """That more ports are asked for than there is room for, at the first of those that find none.

    :param others: the tunnels that there will be besides. What neither needs makes room.
    """
    listening = {
        seen.spec.address
        for seen in observed.values()
        if isinstance(seen.spec, ListenerSpec) and seen.phase is not Phase.FAILED
    }
    first = _first(asked)
    new = sorted((index, address) for address, index in first.items() if address not in listening)
    free = room() if new else None
    if free is None:
        return ()
    needed = {address for tunnel in others for address in tunnel.listen}
    free += len(listening - needed - first.keys())
    if len(new) <= free:
        return ()
    index, _ = new[free]
    return (RequestProblem(path=(index,), message=too_many(len(new), free)),)


def _first(asked: Sequence[Tunnel]) -> dict[ListenAddress, int]:
    """Every address that is asked for, with the number of the first tunnel that does."""
    return {address: index for index in reversed(range(len(asked))) for address in asked[index].listen}
