"""A client's sessions of one number to one gateway: one to each place where that is reached.

Rule: which places a gateway has is decided here. One that is given by its name is reached at each address of
the name; behind a proxy, which resolves names itself, and for an address there is one place.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from agent.actuator import Failed
from agent.reports import is_reached
from reconcile.desired import LinkSpec
from schemas.status import LinkPhase, LinkStatus, Renewal

from .address_link import BEFORE, AddressLink
from .places import Place
from .way_out import resolves_here

if TYPE_CHECKING:
    from .connector import GatewayLinks
    from .resolving import HostAddresses


class GatewayLink:
    """A resource: the sessions of one number to one gateway, kept until closed."""

    is_alive = True  # a death is told

    def __init__(self, spec: LinkSpec, links: GatewayLinks, failed: Failed) -> None:
        self._spec = spec
        self._links = links
        self._failed = failed
        self._name: HostAddresses | None = None  # that of the gateway, while we go by its addresses
        self._addresses: dict[Place, AddressLink] = {}
        self._is_aimed = True  # whether it is known where the settings of now lead

    @property
    def is_connected(self) -> bool:
        """Whether the gateway is reached with the settings of now, at whichever place."""
        return is_reached([status for _, status in self.status()])

    @property
    def visitors(self) -> int:
        """How many visitors its sessions have now."""
        return sum(link.visitors for link in self._addresses.values())

    def start(self) -> None:
        """Connect, until closed."""
        self._aim()

    async def update(self, spec: LinkSpec) -> None:
        """Use the new settings from the next session on, which is tried for now."""
        self._spec = spec
        self._aim(has_news=True)

    async def close(self) -> None:
        """Keep no session. Those that are there may drain; they are no longer this link's."""
        self._follow(None)
        while self._addresses:
            place, link = next(iter(self._addresses.items()))
            await link.close()
            self._addresses.pop(place, None)
            self._links.released(place)
        self._links.forget(self._spec, self)

    def status(self) -> Iterable[tuple[Place, LinkStatus]]:
        """Of the session to each place."""
        for place, link in self._addresses.items():
            yield place, self._as_aimed(link.status())
        if not self._addresses and self._name is not None:
            name = self._name
            yield (
                Place(self._spec.gateway),
                LinkStatus(
                    gateway=str(self._spec.gateway),
                    session=self._spec.session,
                    phase=LinkPhase.WAITING if name.trouble else LinkPhase.CONNECTING,
                    message=name.trouble,
                    since=name.since,
                    attempts=name.attempts,
                    next_attempt_at=name.next_attempt_at,
                ),
            )

    def goes_to(self, place: Place) -> bool:
        """Whether one of its sessions does, or is to."""
        return place in self._addresses

    def services_changed(self) -> None:
        """Tell the gateway what is offered now."""
        for link in self._addresses.values():
            link.services_changed()

    def look(self) -> None:
        """Something has changed at one of the places."""
        for link in self._addresses.values():
            link.look()

    def _aim(self, *, has_news: bool = False) -> None:
        """See to it that there is a link to each place, and none to another.

        :param has_news: whether there are other settings for each.
        """
        gateway = self._spec.gateway
        if resolves_here(self._spec.way_out, gateway, os.environ):
            name = self._follow(gateway.host)
            assert name is not None
            places = [Place(gateway, address) for address in name.addresses]
            self._is_aimed = bool(places)
            if not places:
                return  # what there is serves until it is known where else to go
        else:
            self._follow(None)
            self._is_aimed = True
            places = [Place(gateway)]
        gone = [place for place in self._addresses if place not in places]
        new = [place for place in places if place not in self._addresses]
        if gone and new and bool(gone[0].address) != bool(new[0].address):
            # Another way out of the network is a setting like others: what there is serves until the other
            # works.
            for old, place in zip(gone, new, strict=False):
                self._addresses[place] = self._addresses.pop(old)
                self._addresses[place].update(self._spec, place)
        for place in places:
            link = self._addresses.get(place)
            if link is None:
                link = self._addresses[place] = AddressLink(self._spec, place, self._links, self._failed)
                link.start()
            elif has_news:
                link.update(self._spec, place)
        for place in [place for place in self._addresses if place not in places]:
            self._links.spawn(self._addresses.pop(place).close)
            self._links.released(place)

    def _as_aimed(self, status: LinkStatus) -> LinkStatus:
        """Of a session that is there, while nobody knows where the next one is to go."""
        if self._is_aimed or status.phase is not LinkPhase.CONNECTED:
            return status
        trouble = "" if self._name is None else self._name.trouble
        return status.model_copy(
            update={
                "renewal": Renewal.FAILED if trouble else Renewal.PENDING,
                "message": f"{BEFORE}; with the new ones: {trouble or 'its name is looked up'}",
            }
        )

    def _follow(self, host: str | None) -> HostAddresses | None:
        """Go by the addresses of that name, and of no other."""
        if self._name is not None and self._name.host != host:
            self._links.names.unfollow(self._name.host, self)
            self._name = None
        if self._name is None and host is not None:
            self._name = self._links.names.follow(host, self, self._aim)
        return self._name
