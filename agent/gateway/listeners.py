"""The public ports of the gateway.

Rule: a listener owns one bound socket for as long as its address is declared.
What it routes may change at any time; the socket does not.

Decision: visitors of a port that was handed over wait in its queue until the clients
that serve them are back, for a moment at most. Who connects while the gateway is
restarted would otherwise be let in first, and be turned away.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import anyio
from anyio import to_thread

from agent.actuator import Failed
from agent.process.bind import Bind, bind
from agent.process.inherited import HandedOver
from agent.process.looking import until
from agent.traffic import TrafficBook
from reconcile.desired import ListenerSpec
from reconcile.fine_turns import fine_turns
from schemas.names import ClientId, ListenAddress, TunnelName
from transport.pump.relay import Relay
from transport.pump.sockets import Server, serve

from .frontdoor import FrontDoor
from .route_table import RouteTable
from .sessions import Sessions

# Seconds. A client dials again within half a second of the end of its session, and waits in a queue as well.
_COMEBACK: Final = 2.0
# Routes that are sorted on the event loop, in a millisecond.
_FEW: Final = 1000


class PublicListener:
    """One open public port."""

    def __init__(self, listening: socket.socket, server: Server, door: FrontDoor) -> None:
        self._listening = listening
        self._server = server
        self._door = door

    @property
    def is_alive(self) -> bool:
        """An event loop gives a socket up when accept() fails in a way it does not know, and tells nobody."""
        try:
            return bool(self._listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        except OSError:
            return False

    async def update(self, spec: ListenerSpec) -> None:
        self._door.update(spec, await _table(spec))

    async def close(self) -> None:
        await self._server.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Visits:
    """How many visitors are connected: by the port and tunnel they came by, and by who serves them.

    Whoever loses its client is counted there alone.
    """

    by_route: Mapping[tuple[ListenAddress, TunnelName], int]
    by_client: Mapping[ClientId, int]


class PublicListeners:
    """Opens public ports."""

    def __init__(self, sessions: Sessions, tunnels: TrafficBook, bind: Bind = bind) -> None:
        self._sessions = sessions
        self._tunnels = tunnels
        self._bind = bind
        self._visitors: set[Relay] = set()
        self._waits_until: float | None = None  # for clients: from when the first port is handed over

    def turn_everyone_away(self) -> None:
        """Drop every visitor, at the end of the gateway."""
        for relay in list(self._visitors):
            relay.abort()

    @property
    def open(self) -> int:
        """How many visitors there are, also on ports that have been closed."""
        return len(self._visitors)

    def visits(self, *, losing: Collection[ClientId] = ()) -> Visits:
        """Who is connected now.

        :param losing: clients that take their visitors with them, wherever those came in.
        """
        led = [
            relay.note
            for relay in self._visitors
            if relay.note.route is not None and relay.note.client is not None
        ]
        return Visits(
            by_route=Counter(
                (visitor.listen, visitor.route.tunnel) for visitor in led if visitor.client.id not in losing
            ),
            by_client=Counter(visitor.client.id for visitor in led),
        )

    async def __call__(self, spec: ListenerSpec, failed: Failed) -> PublicListener:
        door = FrontDoor(spec, await _table(spec), self._sessions, self._tunnels, self._visitors)
        listening = self._bind(spec.address)
        try:
            if isinstance(listening, HandedOver):
                await self._wait_for_clients(spec)
            return PublicListener(listening, await serve(listening, door), door)
        except BaseException:
            if isinstance(listening, HandedOver):
                listening.give_back()  # closed, it could never be had again
            else:
                listening.close()
            raise

    async def _wait_for_clients(self, spec: ListenerSpec) -> None:
        """Wait until each route leads somewhere, or a restarted gateway's clients have had their time."""
        if self._waits_until is None:
            self._waits_until = anyio.current_time() + _COMEBACK
        with anyio.move_on_after(self._waits_until - anyio.current_time()):
            await until(
                lambda: all(self._sessions.serving(route.clients, route.service) for route in spec.routes)
            )


async def _table(spec: ListenerSpec) -> RouteTable:
    """The routes of a port; of thousands, from where no visitor has to wait for it."""
    if len(spec.routes) <= _FEW:
        return RouteTable(spec.routes)
    with fine_turns():
        return await to_thread.run_sync(RouteTable, spec.routes)
