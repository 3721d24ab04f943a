"""What a client does when its agent is told to stop.

Rule: in which order things are given up is decided here. How long that may take, and
when it is over, is decided in ``keeping``.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.actuator import ResourceActuator
from reconcile.desired import Kind

from .connector import GatewayLinks
from .services import Services
from .socks5 import Socks5Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientDrain:
    """A client keeps its services while its gateways bring visitors to an end, and dials no gateway any more.

    Programs that it has led somewhere may finish as well, and no more of them are let in.
    """

    actuator: ResourceActuator
    links: GatewayLinks
    services: Services
    socks5: Socks5Ports

    @property
    def open(self) -> int:
        # A session that is over may have last bytes for a service that takes its time.
        return max(self.links.leaving, self.services.open + self.socks5.open)

    async def begin(self) -> None:
        await self.actuator.close_all(Kind.SOCKS5)
        self.socks5.turn_away_undecided()
        await self.actuator.close_all(Kind.LINK)

    async def finish(self) -> None:
        await self.links.end("the client is stopping")
