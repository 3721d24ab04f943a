"""What the ports of a gateway show, and whose clients they take.

Rule: every key of a gateway is taken up here and replaced here. What replaces
another has been proved first, all ports that name the same files change at the same
time, and a port holds what it has until there is something better.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import anyio
from anyio import to_thread

from agent.keys.credentials import Pem, gateway_context, prove, read_pem, renewal
from reconcile.actuator import ActionError
from schemas.errors import TidegateError
from schemas.state import TlsGateway


class PortKeys:
    """What one port has for its next handshake."""

    def __init__(self, tls: TlsGateway, alpn: Sequence[str], pem: Pem, context: ssl.SSLContext) -> None:
        self.tls = tls
        self.alpn = tuple(alpn)
        self.pem = pem
        self.context = context


class Keyring:
    """The keys of all ports. Also the ``KeyUser`` of a gateway."""

    meanwhile = "what was there before stays in use"

    def __init__(self) -> None:
        self.on_authorities: Callable[[bytes], Awaitable[None]] = _nobody_minds
        """Called with the authorities that sign clients, as PEM, when they may have become others."""
        self._ports: tuple[PortKeys, ...] = ()
        self._authorities = b""  # of whichever port was given some last
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
            except TidegateError as error:
                raise _invalid(error) from error
            port = PortKeys(tls, alpn, pem, context)
            self._ports = (*self._ports, port)
            await self._tell(pem.ca, are_others=False)
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

    def forget(self, port: PortKeys) -> None:
        """That port is closed."""
        self._ports = tuple(other for other in self._ports if other is not port)

    # KeyUser

    @property
    def in_use(self) -> Iterable[TlsGateway]:
        return [port.tls for port in self._ports]

    async def renew(self, tls: TlsGateway) -> Mapping[str, Any] | None:
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
        are_others = any(port.pem.ca != pem.ca for port in ports)
        for port, context in zip(ports, contexts, strict=True):
            port.tls, port.pem, port.context = tls, pem, context
        await self._tell(pem.ca, are_others=are_others)

    async def _tell(self, authorities: bytes, *, are_others: bool) -> None:
        if authorities == self._authorities and not are_others:
            return
        self._authorities = authorities
        # Whoever is cut short here would leave sessions in place that nobody looks at again.
        with anyio.CancelScope(shield=True):
            await self.on_authorities(authorities)


async def _nobody_minds(authorities: bytes) -> None:
    pass


def _invalid(error: TidegateError) -> ActionError:
    return ActionError(str(error), reason="InvalidCertificate")
