"""The sessions of one client, and which of them serves the next visitor.

Rule: what a newer session means for the older ones of the same client, and on which
of them a stream is opened, is decided here. Nothing is sent and nothing is closed.

All sessions of a client are of one instance, which is one process, and each has a
number of its own. A session of another instance takes the place of them all. One that
drains is in nobody's place any more, and so nothing replaces it: it ends by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from schemas.messages import MAX_SESSIONS
from schemas.names import ServiceName

from .connected_client import ConnectedClient


class ClientSessions:
    """Every session of one client. ``since`` is when its process came, whatever became of single sessions."""

    since: datetime

    def __init__(self) -> None:
        self._instance = ""
        # By number; the one that was chosen last stands at the end.
        self._sessions: dict[int, ConnectedClient] = {}
        self._leaving: list[ConnectedClient] = []  # they drain, and others have their numbers

    def __len__(self) -> int:
        return len(self._sessions) + len(self._leaving)

    def __iter__(self) -> Iterator[ConnectedClient]:
        """In the order of their numbers, as they are now."""
        return iter(sorted((*self._sessions.values(), *self._leaving), key=_number))

    @property
    def services(self) -> frozenset[ServiceName]:
        """What the client offers, on whichever session."""
        return frozenset().union(*(client.services for client in self))

    def take_on(self, newer: ConnectedClient) -> list[ConnectedClient]:
        """Add a session; those that it replaces, which are no longer among these.

        One of the same instance replaces the one with its number: its process has dialed again before anybody
        here noticed that the old link is dead. One of another instance replaces all, and so does one of none.
        """
        joins = newer.instance != "" and newer.instance == self._instance
        replaced: list[ConnectedClient] = []
        for older in list(self._sessions.values()):
            if not joins or older.number == newer.number:
                del self._sessions[older.number]
                (self._leaving if older.draining else replaced).append(older)
        # A client gone mad could make its sessions drain one after the other.
        while len(self._leaving) > MAX_SESSIONS:
            replaced.append(self._leaving.pop(0))
        if not joins:
            self._instance, self.since = newer.instance, newer.since
        self._sessions[newer.number] = newer
        self._count()
        return replaced

    def is_current(self, client: ConnectedClient) -> bool:
        """Whether it is a session of the process that is there now, and speaks for the client."""
        return self._sessions.get(client.number) is client

    def discard(self, ended: ConnectedClient) -> bool:
        """Forget a session that has ended; whether it was still one of these."""
        if ended in self._leaving:
            self._leaving.remove(ended)
        elif self._sessions.get(ended.number) is ended:
            del self._sessions[ended.number]
            self._count()
        else:
            return False
        return True

    def can_serve(self, service: ServiceName) -> bool:
        """Whether :meth:`choose` would find one."""
        return any(client.can_serve and service in client.services for client in self._sessions.values())

    def choose(self, service: ServiceName, *, but: ConnectedClient | None = None) -> ConnectedClient | None:
        """The session for the next visitor of a service: the one with the fewest streams, of several in turn.

        One whose link has stalled does not get rid of its streams, and so is soon left alone.

        :param but: a session that has not served the visitor.
        """
        if len(self._sessions) == 1:  # as most clients have it, and asked for every visitor
            (only,) = self._sessions.values()
            return only if service in only.services and only.can_serve and only is not but else None
        able = [
            client
            for client in self._sessions.values()
            if client.can_serve and service in client.services and client is not but
        ]
        if not able:
            return None
        chosen = min(able, key=_streams)  # the first of several, which had to wait the longest
        self._sessions[chosen.number] = self._sessions.pop(chosen.number)
        return chosen

    def _count(self) -> None:
        for client in self._sessions.values():
            client.is_one_of_several = len(self._sessions) > 1


def _number(client: ConnectedClient) -> int:
    return client.number


def _streams(client: ConnectedClient) -> int:
    return client.streams
