"""The rights of all clients of a gateway, by the client.

Rule: pure. What a right means is said in ``schemas.rights``; here is whose it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas.names import ClientId, ServiceName
from schemas.rights import may_offer
from schemas.state import ClientEntry

SERVICES_REFUSED = (
    "the gateway's file does not let this client offer them: add them to services in its entry there, "
    "or take them out of the client's file"
)


class Rights:
    """What the gateway's file says of each client."""

    def __init__(self, entries: Iterable[ClientEntry] = ()) -> None:
        self._entries = {entry.id: entry for entry in entries}

    def of(self, client: ClientId) -> ClientEntry | None:
        """The entry of a client; None: the file does not list it."""
        return self._entries.get(client)


def allowed(entry: ClientEntry | None, offered: frozenset[ServiceName]) -> frozenset[ServiceName]:
    """Which of the services that a client offers it may offer."""
    if entry is None or entry.services is None:
        return offered
    return frozenset(service for service in offered if may_offer(entry, service))
