"""The places at which gateways are reached, and which of several that lead to one gateway is used.

Rule: one process of a gateway has the sessions of one place. Of two places that lead to it (A and AAAA of a
name, two names) the first that is up, in the order of the file, keeps its sessions; the other is a spare,
and is not dialed before the first has lost all of its own. Who answers at a place is known from its welcome,
and so one session at a time asks there as long as nobody knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from schemas.gateway_address import GatewayAddress

if TYPE_CHECKING:
    from .link_session import LinkSession


@dataclass(frozen=True, slots=True)
class Place:
    """One way to a gateway.

    ``address`` is one of those that its name stands for, and empty where nothing but the host counts.
    """

    gateway: GatewayAddress
    address: str = ""

    def __str__(self) -> str:
        return f"{self.gateway} ({self.address})" if self.address else str(self.gateway)


class Hold(Enum):
    """Why a place is not to be dialed now."""

    NONE = auto()
    SPARE = auto()  # another place leads to the same gateway, and is up
    ASKED = auto()  # another session is asking who is there


class Places:
    """What is known of each place.

    :param rank: sorts places as the file does.
    :param changed: called when something is held that was not, or the other way round.
    """

    def __init__(self, rank: Callable[[Place], tuple[int, int]], changed: Callable[[], None]) -> None:
        self._rank = rank
        self._changed = changed
        self._up: dict[Place, list[LinkSession]] = {}
        self._asking: set[Place] = set()
        self._answered: dict[Place, str] = {}  # the instance that did last

    def hold(self, place: Place) -> Hold:
        """Whether the place is to be left alone."""
        if self.kept_by(place) is not None:
            return Hold.SPARE
        if place in self._asking and place not in self._up:
            return Hold.ASKED
        return Hold.NONE

    def kept_by(self, place: Place) -> Place | None:
        """The other place that leads to the gateway which answered here last, if that is up and is used."""
        instance = self._answered.get(place)
        if instance is None:
            return None
        keepers = [
            other
            for other, sessions in self._up.items()
            if any(session.instance == instance for session in sessions)
        ]
        keeper = min(keepers, key=self._rank, default=place)
        return None if keeper == place else keeper

    def instance(self, place: Place) -> str | None:
        """Who is there, as long as there is a session; None if nobody knows."""
        sessions = self._up.get(place)
        return sessions[-1].instance if sessions else None

    def is_in_use(self, host: str, address: str) -> bool:
        """Whether there is a session to that address of a name, or it is a spare of one that has one."""
        return any(
            place.gateway.host == host
            and place.address == address
            and (place in self._up or self.kept_by(place) is not None)
            for place in self._answered
        )

    def is_reached_beside(self, place: Place) -> bool:
        """Whether another place of the same gateway is up."""
        return any(other.gateway == place.gateway for other in self._up if other != place)

    def sessions(self) -> Iterator[list[LinkSession]]:
        """Those of each place, in the order of the file."""
        for place in sorted(self._up, key=self._rank):
            yield list(self._up[place])

    @contextmanager
    def asking(self, place: Place) -> Iterator[None]:
        """While a session asks who is there."""
        is_first = place not in self._up and place not in self._asking
        if is_first:
            self._asking.add(place)
        try:
            yield
        finally:
            if is_first:
                self._asking.discard(place)
                self._changed()

    def up(self, session: LinkSession) -> None:
        """There is a session."""
        sessions = self._up.setdefault(session.place, [])
        is_known = any(other.instance == session.instance for other in sessions)
        sessions.append(session)
        self._answered[session.place] = session.instance
        if not is_known:
            self._changed()

    def down(self, session: LinkSession) -> None:
        """It is over, or is to end. Said again of the same one, it means nothing."""
        sessions = self._up.get(session.place, [])
        if session in sessions:
            sessions.remove(session)
            if not sessions:
                del self._up[session.place]
            if not any(other.instance == session.instance for other in sessions):
                self._changed()

    def forget(self, place: Place) -> None:
        """Nobody wants to know any more who was there."""
        self._answered.pop(place, None)
