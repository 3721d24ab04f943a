"""The client's links: its sessions to all gateways.

Rule: what the links have in common is here. What becomes of a single session is decided in ``address_link``,
and which places a gateway has in ``gateway_link``. Each link stands for itself: the loss of one is not felt
by others.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from agent.actuator import Failed
from agent.events import Publish, publish_nowhere
from agent.process.looking import until
from agent.process.spawn import Spawn
from reconcile.desired import Key, LinkSpec, key_of
from schemas.gateway_address import GatewayAddress
from schemas.status import LinkPhase, LinkStatus

from .declaring import Declaring
from .gateway_link import GatewayLink
from .link_session import LinkSession, SessionState
from .names import Names
from .places import Place, Places
from .resolving import LookUp, look_up
from .services import Services
from .session_numbers import SessionNumbers


def _in_any_order() -> Sequence[GatewayAddress]:
    return ()


class GatewayLinks:
    """Opens links, and sees to sessions that no link keeps any more.

    :param spawn: starts tasks that live as long as the client.
    :param drain_limit: gives the seconds that such a session has for its visitors.
    :param publish: told when a link has a session, and when it has lost it.
    :param order: gives the gateways in the order of the file.
    :param look_up: finds the addresses of a name.
    """

    def __init__(
        self,
        services: Services,
        spawn: Spawn,
        clock: Callable[[], datetime],
        drain_limit: Callable[[], float],
        publish: Publish = publish_nowhere,
        order: Callable[[], Sequence[GatewayAddress]] = _in_any_order,
        look_up: LookUp = look_up,
    ) -> None:
        self.services = services
        self.publish = publish
        self.spawn = spawn
        self.clock = clock
        self.declaring = Declaring()
        self.instance = secrets.token_hex(8)  # tells a gateway which sessions are of this process
        self.numbers = SessionNumbers()
        self.places = Places(self._rank, self._places_changed)
        self.names = Names(spawn, clock, look_up, self.places.is_in_use)
        self._order = order
        self._drain_limit = drain_limit
        self._links: dict[Key, GatewayLink] = {}
        self._leaving: list[LinkSession] = []

    async def __call__(self, spec: LinkSpec, failed: Failed) -> GatewayLink:
        link = self._links[key_of(spec)] = GatewayLink(spec, self, failed)
        link.start()
        return link

    def services_changed(self) -> None:
        for link in self._links.values():
            link.services_changed()

    def status(self) -> tuple[LinkStatus, ...]:
        """Of every link in the order of the file, and of the sessions that drain beside them."""
        statuses = [
            (self._rank(place), status) for link in self._links.values() for place, status in link.status()
        ]
        statuses += [(self._rank(session.place), _leaving(session)) for session in self._leaving]
        statuses.sort(key=lambda ranked: (ranked[0], ranked[1].gateway, ranked[1].session))
        return tuple(status for _, status in statuses)

    def visits(self) -> Mapping[Key, int]:
        """How many visitors each link has now."""
        return {key: link.visitors for key, link in self._links.items()}

    @property
    def is_connected(self) -> bool:
        """Whether every gateway is reached with the settings of now, on every session."""
        return all(link.is_connected for link in self._links.values())

    @property
    def is_ready(self) -> bool:
        """Whether, besides, each has taken every tunnel that it is asked for."""
        return self.is_connected and self.declaring.is_in_force

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong though it stops nothing yet."""
        return (*self.names.warnings, *self.declaring.warnings)

    @property
    def leaving(self) -> int:
        """How many sessions drain, and are not over yet."""
        return len(self._leaving)

    def first_healthy(self) -> tuple[LinkSession, ...]:
        """The sessions that can carry a stream to the first gateway, in the order of the file, that has any.

        They are all to one place, so that what leaves through them leaves from one machine.
        """
        for sessions in self.places.sessions():
            able = tuple(
                session
                for session in sessions
                if session.state is SessionState.OPEN and session.session.is_open
            )
            if able:
                return able
        return ()

    # For its links

    def serve(self, session: LinkSession) -> None:
        """Let it run until it ends."""
        self.declaring.up(session)
        self.spawn(self._serve, session)

    def leave(self, session: LinkSession, reason: str) -> None:
        """Let its visitors finish, and end it then."""
        self.places.down(session)
        self.declaring.down(session)
        self._leaving.append(session)
        self.spawn(self._leave, session, reason)

    def released(self, place: Place) -> None:
        """One of its links does not go there any more."""
        if not any(link.goes_to(place) for link in self._links.values()):
            self.places.forget(place)

    def forget(self, spec: LinkSpec, link: GatewayLink) -> None:
        """It is closed."""
        key = key_of(spec)
        if self._links.get(key) is link:
            del self._links[key]

    async def end(self, reason: str) -> None:
        """End what still drains, and wait until each gateway has heard all that was said to it."""
        sessions = list(self._leaving)
        for session in sessions:
            session.session.close(reason)
        await until(lambda: all(session.session.link.is_closed for session in sessions))

    async def _serve(self, session: LinkSession) -> None:
        try:
            await session.run(self.spawn)
        finally:
            self.declaring.down(session)
            self.numbers.give_back(session.number, session.place)

    async def _leave(self, session: LinkSession, reason: str) -> None:
        try:
            await session.leave(self._drain_limit(), reason)
            await until(lambda: session.session.link.is_closed)
        finally:
            self._leaving.remove(session)

    def _places_changed(self) -> None:
        for link in list(self._links.values()):
            link.look()

    def _rank(self, place: Place) -> tuple[int, int]:
        order = self._order()
        gateway = order.index(place.gateway) if place.gateway in order else len(order)
        return gateway, self.names.rank(place)


def _leaving(session: LinkSession) -> LinkStatus:
    return LinkStatus(
        gateway=str(session.spec.gateway),
        address=session.place.address,
        session=session.spec.session,
        phase=LinkPhase.DRAINING,
        message="this session is no longer kept; visitors who are there may finish",
        since=session.since,
        attempts=0,
        next_attempt_at=None,
    )
