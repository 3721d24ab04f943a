"""What the ports of a gateway show, and whose clients they take.

Rule: every key of a gateway is taken up here and replaced here. What replaces
another has been proved first, all ports that name the same files change at the same
time, and a port holds what it has until there is something better.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import structlog
from anyio import to_thread

from agent.keys.credentials import (
    Pem,
    gateway_context,
    prove,
    read_pem,
    references,
    renewal,
    revocation_lists,
)
from reconcile.actuator import ActionError
from schemas.errors import TidegateError
from schemas.references import Reference
from schemas.state import TlsGateway

if TYPE_CHECKING:
    from agent.keys.crl import RevocationLists

_log: Any = structlog.get_logger("keys")


class PortKeys:
    """What one port has for its next handshake. ``lists``: what the authorities of its peers have revoked."""

    def __init__(
        self,
        tls: TlsGateway,
        alpn: Sequence[str],
        pem: Pem,
        context: ssl.SSLContext,
        lists: RevocationLists | None,
    ) -> None:
        self.tls = tls
        self.alpn = tuple(alpn)
        self.pem = pem
        self.context = context
        self.lists = lists


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustNews:
    """Who would vouch for clients, as PEM, or None if that would be as it is; and what they have revoked."""

    authorities: bytes | None
    lists: RevocationLists | None


class Keyring:
    """The keys of all ports. Also the ``KeyUser`` of a gateway."""

    meanwhile = "what was there before stays in use"

    def __init__(self) -> None:
        self.on_authorities: Callable[[bytes], Awaitable[None]] = _nobody_minds
        """Called with the authorities that sign clients, as PEM, when they may have become others."""
        self.on_lists: Callable[[RevocationLists | None], Awaitable[None]] = _nobody_minds
        """Called with what these authorities have revoked, when it may have become something else."""
        self._ports: tuple[PortKeys, ...] = ()
        self._authorities = b""  # of whichever port was given some last
        self._lists: RevocationLists | None = None  # the same
        self._warned: tuple[str, ...] = ()
        self._turnstile = anyio.Lock()

    async def take(self, tls: TlsGateway, *, alpn: Sequence[str]) -> PortKeys:
        """The keys of a port that is being opened.

        :raises ActionError: if a file cannot be read or does not hold what it should.
        """
        async with self._turnstile:
            same = next((port for port in self._ports if port.tls == tls), None)
            try:
                pem = same.pem if same is not None else await to_thread.run_sync(read_pem, tls)
                context = await to_thread.run_sync(partial(gateway_context, tls, pem, alpn=alpn))
                # Without what was revoked nobody is let in: whoever was would come first.
                lists = (
                    same.lists if same is not None else await to_thread.run_sync(revocation_lists, tls, pem)
                )
            except TidegateError as error:
                raise _invalid(error) from error
            port = PortKeys(tls, alpn, pem, context, lists)
            self._ports = (*self._ports, port)
            await self._tell(port, are_others=False)
        return port

    async def change(self, port: PortKeys, tls: TlsGateway) -> None:
        """Let a port use what other references stand for.

        :raises ActionError: if that will not do; the port has what it had before.
        """
        if tls == port.tls:
            return  # what these files hold is looked at in renew()
        async with self._turnstile:
            try:
                pem = await to_thread.run_sync(read_pem, tls)
                await to_thread.run_sync(prove, tls, pem)
            except TidegateError as error:
                raise _invalid(error) from error
            await self._give([port], tls, pem)

    async def look_at(self, tls: TlsGateway) -> TrustNews | None:
        """What :meth:`change` to these references would tell everybody; None if nothing.

        :raises TidegateError: if it would not take them.
        """
        if any(port.tls == tls for port in self._ports):
            return None
        pem, lists = await to_thread.run_sync(_proved, tls)
        return TrustNews(authorities=pem.ca if pem.ca != self._authorities else None, lists=lists)

    def forget(self, port: PortKeys) -> None:
        """That port is closed."""
        self._ports = tuple(other for other in self._ports if other is not port)

    # KeyUser

    @property
    def in_use(self) -> Iterable[TlsGateway]:
        return [port.tls for port in self._ports]

    def references(self, tls: TlsGateway) -> Iterable[Reference]:
        return references(tls).values()

    async def renew(self, tls: TlsGateway) -> Mapping[str, Any] | None:
        self._look_at_lists()
        async with self._turnstile:
            ports = [port for port in self._ports if port.tls == tls]
            pem = await to_thread.run_sync(read_pem, tls)
            stale = [port for port in ports if port.pem != pem]
            if not stale:
                return None
            seen = await to_thread.run_sync(prove, tls, pem)
            news = renewal(tls, stale[0].pem, pem, seen)
            await self._give(stale, tls, pem)
        return news

    async def _give(self, ports: Sequence[PortKeys], tls: TlsGateway, pem: Pem) -> None:
        contexts = [
            await to_thread.run_sync(partial(gateway_context, tls, pem, alpn=port.alpn)) for port in ports
        ]
        lists = await to_thread.run_sync(revocation_lists, tls, pem)
        are_others = any(port.pem.ca != pem.ca for port in ports)
        for port, context in zip(ports, contexts, strict=True):
            port.tls, port.pem, port.context, port.lists = tls, pem, context, lists
        await self._tell(ports[0], are_others=are_others)

    async def _tell(self, port: PortKeys, *, are_others: bool) -> None:
        """Let everybody know what one port has now, as far as that is something else than before."""
        # Whoever is cut short here would leave sessions in place that nobody looks at again.
        with anyio.CancelScope(shield=True):
            if port.lists is not self._lists:
                self._lists = port.lists
                await self.on_lists(port.lists)
            if port.pem.ca != self._authorities or are_others:
                self._authorities = port.pem.ca
                await self.on_authorities(port.pem.ca)

    def warnings(self, now: datetime) -> tuple[str, ...]:
        """What is to be known of the lists in use."""
        return () if self._lists is None else self._lists.warnings(now)

    def _look_at_lists(self) -> None:
        """Log once what is to be known of them."""
        told, self._warned = self._warned, self.warnings(datetime.now(UTC))
        for warning in self._warned:
            if warning not in told:
                _log.warning("revocation_list_doubtful", reason=warning)


def _proved(tls: TlsGateway) -> tuple[Pem, RevocationLists | None]:
    pem = read_pem(tls)
    prove(tls, pem)
    return pem, revocation_lists(tls, pem)


async def _nobody_minds(news: object) -> None:
    pass


def _invalid(error: TidegateError) -> ActionError:
    return ActionError(str(error), reason="InvalidCertificate")
