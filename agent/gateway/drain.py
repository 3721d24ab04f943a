"""What a gateway does when its agent is told to stop.

Rule: in which order things are given up is decided here. How long that may take, and
when it is over, is decided in ``keeping``.
"""

from __future__ import annotations

from collections.abc import Callable

from agent.actuator import ResourceActuator
from reconcile.desired import Kind

from .egress import Egress
from .listeners import PublicListeners
from .sessions import Sessions


class GatewayDrain:
    """A gateway closes its public and control ports, and keeps its sessions while there are visitors, or
    connections that it has made for its clients.

    :param limit: gives the seconds that it may take.
    """

    def __init__(
        self,
        actuator: ResourceActuator,
        listeners: PublicListeners,
        sessions: Sessions,
        egress: Egress,
        limit: Callable[[], float],
    ) -> None:
        self._actuator = actuator
        self._listeners = listeners
        self._sessions = sessions
        self._egress = egress
        self._limit = limit

    @property
    def limit(self) -> float:
        return self._limit()

    @property
    def open(self) -> int:
        return self._listeners.open + self._egress.open

    async def begin(self) -> None:
        self._sessions.drain()
        self._egress.drain()
        await self._actuator.close_all(Kind.LISTENER, Kind.CONTROL)

    async def finish(self) -> None:
        self._listeners.turn_everyone_away()
        self._egress.turn_everyone_away()
        await self._sessions.end("the gateway is stopping")
