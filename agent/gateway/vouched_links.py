"""The links of a gateway's clients, and for whom nobody vouches any more.

Rule: whoever got a link through the authorities of an earlier day keeps it exactly
as long as those of today vouch for its certificate, and have not revoked it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain, compress
from typing import Any, Final

import structlog
from anyio import to_thread

from agent.keys.shown import Chain, shown_chain, verified_chain
from schemas.messages import RefusalCode
from schemas.names import ClientId
from transport.pump.link import Link

from .revocation import REVOKED, REVOKED_HERE, Lists
from .sessions import Sessions

_UNVOUCHED: Final = (
    "the authorities in the gateway's client CA file no longer vouch for this client's certificate: "
    "issue one that they sign"
)

_IN_DOUBT: Final = "the gateway has another client CA and asks every client to dial again"

_log: Any = structlog.get_logger("links")


class VouchedLinks:
    """Every link from the end of its handshake to the end of its session."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._links: set[Link] = set()

    @contextmanager
    def holding(self, link: Link) -> Iterator[None]:
        """Look after a link until the block ends."""
        self._links.add(link)
        try:
            yield
        finally:
            self._links.discard(link)

    async def end_unvouched(self, authorities: bytes) -> None:
        """End every session for whose certificate none of the authorities vouches.

        :param authorities: as PEM.
        """
        ended = links = [link for link in self._links if not link.is_lost]
        if not links:
            return
        why = _UNVOUCHED
        try:
            chains = {link: shown_chain(link.ssl_object) for link in links}
            ended = await to_thread.run_sync(_unvouched, chains, authorities)
        except Exception as error:  # noqa: BLE001 - in doubt they all dial again, and OpenSSL decides
            _log.error("vouching_failed", exc_info=error)
            why = _IN_DOUBT
        clients = {client.session.link: client for client in chain(*self._sessions.connected().values())}
        for link in ended:
            if link in clients:
                self._sessions.turn_out(clients[link], RefusalCode.OTHER, why, why)
            else:
                link.close()  # it has not said its hello yet

    async def end_revoked(self, lists: Lists | None) -> None:
        """Let these lists count from now on, and end every session whose certificate they revoke."""
        # Nobody on them comes in meanwhile: whoever has yet to say hello is judged when that is said.
        self._sessions.set_lists(lists)
        if lists is None:
            return
        clients = list(chain(*self._sessions.connected().values()))
        chains = [verified_chain(client.session.link.ssl_object) for client in clients]
        is_revoked = await to_thread.run_sync(lambda: [lists.revokes(shown) for shown in chains])
        for client in compress(clients, is_revoked):
            self._sessions.turn_out(client, RefusalCode.REVOKED, REVOKED, REVOKED_HERE)

    async def losing(self, authorities: bytes | None, lists: Lists | None) -> frozenset[ClientId]:
        """The clients of which these would end a session.

        :param authorities: as PEM; None if they stay.
        """
        clients = {client.session.link: client.id for client in chain(*self._sessions.connected().values())}
        verified = {link: verified_chain(link.ssl_object) for link in clients} if lists is not None else {}
        shown = {link: shown_chain(link.ssl_object) for link in clients} if authorities is not None else {}

        def find() -> set[Link]:
            revoked = {link for link, found in verified.items() if lists is not None and lists.revokes(found)}
            unvouched = _unvouched(shown, authorities) if authorities is not None else ()
            return revoked.union(unvouched)

        return frozenset(clients[link] for link in await to_thread.run_sync(find))


def _unvouched(chains: dict[Link, Chain], authorities: bytes) -> list[Link]:
    from .vouching import Authorities  # not before the authorities have changed

    today = Authorities(authorities, now=datetime.now(UTC))
    return [link for link, certificates in chains.items() if not today.vouch_for(certificates)]
