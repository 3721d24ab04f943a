"""The links of a gateway's clients, and for whom nobody vouches any more.

Rule: whoever got a link through the authorities of an earlier day keeps it exactly
as long as those of today vouch for its certificate.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final

import structlog
from anyio import to_thread

from schemas.messages import RefusalCode
from transport.pump.link import Link

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
            chains = {link: _shown_certificates(link) for link in links}
            ended = await to_thread.run_sync(_unvouched, chains, authorities)
        except Exception as error:  # noqa: BLE001 - in doubt they all dial again, and OpenSSL decides
            _log.error("vouching_failed", exc_info=error)
            why = _IN_DOUBT
        clients = {client.session.link: client for client in chain(*self._sessions.connected().values())}
        for link in ended:
            if link in clients:
                clients[link].session.refuse(RefusalCode.OTHER, why)
            else:
                link.close()  # it has not said its hello yet


def _unvouched(chains: dict[Link, list[bytes]], authorities: bytes) -> list[Link]:
    from .vouching import Authorities  # not before the authorities have changed

    today = Authorities(authorities, now=datetime.now(UTC))
    return [link for link, certificates in chains.items() if not today.vouch_for(certificates)]


def _shown_certificates(link: Link) -> list[bytes]:
    """As DER, the peer's own first, then those it sent along, which Python's own TLS tells from 3.13 on."""
    if link.ssl_object is None:
        return []
    own = link.ssl_object.getpeercert(True)
    tell_chain = getattr(link.ssl_object, "get_unverified_chain", list)
    return [own, *(tell_chain() or ())] if own is not None else []
