"""The keys of a client's links, which are read when a session begins.

Rule: nothing is used here. Each session reads the files for itself, and one that
runs needs them no more; what is found out here is whether the next one could begin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from anyio import to_thread

from agent.keys.credentials import Pem, prove, read_pem, references, renewal
from schemas.references import Reference
from schemas.state import TlsClient


class LinkKeys:
    """The ``KeyUser`` of a client.

    :param tls: gives the references in force, None if there are none yet. Called in a worker thread, too.
    """

    meanwhile = "sessions that run go on, and no new one can begin"

    def __init__(self, tls: Callable[[], TlsClient | None]) -> None:
        self._tls = tls
        self._good: tuple[TlsClient, Pem] | None = None

    @property
    def in_use(self) -> Iterable[TlsClient]:
        tls = self._tls()
        return [] if tls is None else [tls]

    def references(self, tls: TlsClient) -> Iterable[Reference]:
        return references(tls).values()

    async def renew(self, tls: TlsClient) -> Mapping[str, Any] | None:
        pem = await to_thread.run_sync(read_pem, tls)
        before = self._good
        if before == (tls, pem):
            return None
        seen = await to_thread.run_sync(prove, tls, pem)
        self._good = (tls, pem)
        return None if before is None else renewal(tls, before[1], pem, seen)
