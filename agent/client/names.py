"""The names of gateways that are looked up now.

Rule: a name is looked up as long as a link goes by its addresses, once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import anyio

from agent.process.spawn import Spawn

from .places import Place
from .resolving import HostAddresses, IsInUse, LookUp


class _Followed:
    """A name, and who is told when it stands for something else."""

    def __init__(self, host: str, clock: Callable[[], datetime], look_up: LookUp, is_in_use: IsInUse) -> None:
        self.addresses = HostAddresses(host, self._changed, clock, look_up, is_in_use)
        self.scope = anyio.CancelScope()
        self.followers: dict[object, Callable[[], None]] = {}

    async def run(self) -> None:
        with self.scope:
            await self.addresses.follow()

    def _changed(self) -> None:
        for tell in list(self.followers.values()):
            tell()


class Names:
    """What is followed.

    :param spawn: starts tasks that live as long as the client.
    :param is_in_use: tells whether an address of a name is needed, as things are now.
    """

    def __init__(
        self, spawn: Spawn, clock: Callable[[], datetime], look_up: LookUp, is_in_use: IsInUse
    ) -> None:
        self._spawn = spawn
        self._clock = clock
        self._look_up = look_up
        self._is_in_use = is_in_use
        self._followed: dict[str, _Followed] = {}

    def follow(self, host: str, follower: object, changed: Callable[[], None]) -> HostAddresses:
        """Look the name up, now and again, until the follower no longer wants it.

        :param changed: called when it stands for something else.
        """
        followed = self._followed.get(host)
        if followed is None:
            followed = self._followed[host] = _Followed(host, self._clock, self._look_up, self._is_in_use)
            self._spawn(followed.run)
        followed.followers[follower] = changed
        return followed.addresses

    def unfollow(self, host: str, follower: object) -> None:
        """The follower no longer wants it."""
        followed = self._followed[host]
        del followed.followers[follower]
        if not followed.followers:
            followed.scope.cancel()
            del self._followed[host]

    def ring(self, host: str) -> None:
        """Look soon, if it is followed: one of its addresses could not be reached."""
        if host in self._followed:
            self._followed[host].addresses.ring()

    def rank(self, place: Place) -> int:
        """Which of the addresses of its name this is, in their order."""
        followed = self._followed.get(place.gateway.host)
        addresses = followed.addresses.addresses if followed is not None else ()
        return addresses.index(place.address) if place.address in addresses else len(addresses)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The names that are not resolved any more."""
        return tuple(
            f"{addresses.trouble}; the addresses that it had are still used"
            for addresses in (followed.addresses for followed in self._followed.values())
            if addresses.trouble and addresses.addresses
        )
