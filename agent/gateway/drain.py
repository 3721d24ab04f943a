"""What a gateway does when its agent is told to stop.

Rule: in which order things are given up is decided here. How long that may take, and
when it is over, is decided in ``keeping``.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.actuator import ResourceActuator
from reconcile.desired import Kind

from .egress import Egress
from .listeners import PublicListeners
from .sessions import Sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayDrain:
    """A gateway closes its public and control ports, and keeps its sessions while there are visitors, or
    connections that it has made for its clients.
    """

    actuator: ResourceActuator
    listeners: PublicListeners
    sessions: Sessions
    egress: Egress

    @property
    def open(self) -> int:
        return self.listeners.open + self.egress.open

    async def begin(self) -> None:
        self.sessions.drain()
        self.egress.drain()
        await self.actuator.close_all(Kind.LISTENER, Kind.CONTROL)

    async def finish(self) -> None:
        self.listeners.turn_everyone_away()
        self.egress.turn_everyone_away()
        await self.sessions.end("the gateway is stopping")
