"""The control port: where clients connect to the gateway.

Rule: this file accepts connections and does the TLS handshake with each. Who the
peer is, and whether it may stay, is decided by ``sessions``.
"""

from __future__ import annotations

import socket
from collections import Counter
from typing import Any, Final

import anyio
import structlog

from agent.actuator import Failed
from agent.process.accepting import accept, peer_host, peer_name
from agent.process.bind import Bind, bind
from agent.process.running import Running
from agent.process.spawn import Spawn
from reconcile.desired import ControlSpec
from transport.pump.link import Link
from transport.pump.sockets import accept_link
from transport.tls import ALPN, TlsError, check_alpn
from transport.tls_errors import explain_tls_error

from .keyring import Keyring, PortKeys
from .sessions import Sessions
from .vouched_links import VouchedLinks

_HANDSHAKE_TIMEOUT: Final = 10.0
# Handshakes cost CPU before a peer has proved anything. Beyond this many at once, the address with
# the most of them gives way: silent connections of one stranger keep nobody else out.
_MAX_HANDSHAKES: Final = 512

_log: Any = structlog.get_logger("control")


class ControlPort:
    """One open control port. Sessions that came through it survive it."""

    is_alive = True  # a death is told

    def __init__(
        self,
        spec: ControlSpec,
        keys: PortKeys,
        keyring: Keyring,
        sessions: Sessions,
        links: VouchedLinks,
        spawn: Spawn,
        failed: Failed,
    ) -> None:
        self._spec = spec
        self._keys = keys
        self._keyring = keyring
        self._sessions = sessions
        self._links = links
        self._spawn = spawn
        self._accepting = Running(failed)
        self._handshakes: dict[anyio.CancelScope, str] = {}  # oldest first, and where each comes from
        self._is_full = False

    def start(self, listening: socket.socket) -> None:
        """Accept until closed."""
        self._spawn(self._accepting.run, self._accept, listening)

    async def update(self, spec: ControlSpec) -> None:
        await self._keyring.change(self._keys, spec.tls)
        if spec.timing != self._spec.timing:
            self._sessions.set_timing(spec.timing)
        self._spec = spec

    async def close(self) -> None:
        self._keyring.forget(self._keys)
        await self._accepting.stop()

    async def _accept(self, listening: socket.socket) -> None:
        with listening:
            while True:
                self._take(await accept(listening))

    def _take(self, connection: socket.socket) -> None:
        host = peer_host(connection)
        if len(self._handshakes) >= _MAX_HANDSHAKES and not self._make_room(host):
            connection.close()
            return
        scope = anyio.CancelScope()
        self._handshakes[scope] = host
        self._spawn(self._greet, connection, scope)

    def _make_room(self, host: str) -> bool:
        """End the oldest handshake of the crowd. Not for one of the crowd itself: it has its share."""
        counts = Counter(self._handshakes.values())
        crowd, most = counts.most_common(1)[0]
        if not self._is_full:  # one line, not one for each of a flood
            self._is_full = True
            _log.warning(
                "handshakes_refused",
                listen=str(self._spec.address),
                most_from=crowd,
                reason=f"{_MAX_HANDSHAKES} TLS handshakes are under way; the address with the most gives way",
            )
        if counts[host] >= most:
            return False
        next(scope for scope, other in self._handshakes.items() if other == crowd).cancel()
        return True

    async def _greet(self, connection: socket.socket, scope: anyio.CancelScope) -> None:
        timing, address = self._spec.timing, peer_name(connection)
        link: Link | None = None
        try:
            with scope:
                link = await self._shake_hands(connection)
        except (OSError, TlsError) as error:
            _log.warning("handshake_failed", address=address, reason=explain_tls_error(error))
        finally:
            del self._handshakes[scope]
            self._is_full = self._is_full and len(self._handshakes) > _MAX_HANDSHAKES // 2
        if link is not None:
            with self._links.holding(link):
                await self._sessions.serve(link, timing)

    async def _shake_hands(self, connection: socket.socket) -> Link:
        """
        :raises OSError: if the handshake fails.
        :raises TlsError: if the peer speaks another protocol, or its certificate must be looked at again.
        """
        authorities = self._keys.pem.ca
        try:
            link = await accept_link(connection, self._keys.context, handshake_timeout=_HANDSHAKE_TIMEOUT)
        except Exception:  # when cancelled, the pump closes it: its loop may still be watching it
            connection.close()
            raise
        try:
            check_alpn(link.alpn)
            if self._keys.pem.ca != authorities:
                raise TlsError("the client CA was replaced during the handshake: the client dials again")
        except TlsError:
            link.abort()
            raise
        return link


class ControlPorts:
    """Opens control ports.

    :param spawn: starts tasks that live as long as the gateway.
    """

    def __init__(self, sessions: Sessions, keyring: Keyring, spawn: Spawn, bind: Bind = bind) -> None:
        self._sessions = sessions
        self._keyring = keyring
        self._bind = bind
        self._links = VouchedLinks(sessions)
        self._spawn = spawn
        keyring.on_authorities = self._links.end_unvouched
        keyring.on_lists = self._links.end_revoked

    async def __call__(self, spec: ControlSpec, failed: Failed) -> ControlPort:
        keys = await self._keyring.take(spec.tls, alpn=(ALPN,))
        try:
            listening = self._bind(spec.address)
        except BaseException:
            self._keyring.forget(keys)
            raise
        port = ControlPort(spec, keys, self._keyring, self._sessions, self._links, self._spawn, failed)
        port.start(listening)
        return port
