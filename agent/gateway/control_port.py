"""The control port: where clients connect to the gateway.

Rule: this file accepts connections and does the TLS handshake with each. What comes is
told by ``first_bytes``; who the peer is, and whether it may stay, is decided by ``sessions``.
"""

from __future__ import annotations

import socket
import ssl
from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
import structlog
from anyio import to_thread

from agent.actuator import Failed
from agent.keys.credentials import Pem, outer_gateway_context
from agent.process.accepting import accept_from, host_of
from agent.process.bind import Bind, bind
from agent.process.descriptors import descriptor_limit
from agent.process.running import Running
from agent.process.spawn import Spawn
from reconcile.desired import ControlSpec
from schemas.errors import TidegateError
from transport.pump.link import Link
from transport.pump.sockets import accept_link
from transport.tls import ALPN, TlsError, check_alpn
from transport.tls_errors import explain_tls_error

from .first_bytes import Arrival, OnlyLookedError, Opening
from .forwarders import Forwarders
from .keyring import Keyring, PortKeys
from .sessions import Sessions
from .vouched_links import VouchedLinks

if TYPE_CHECKING:
    from transport.wire.upgrade_request import UpgradeRequest

_HANDSHAKE_TIMEOUT: Final = 10.0
# Handshakes cost CPU before a peer has proved anything. Beyond this many at once, the address with
# the most of them gives way: silent connections of one stranger keep nobody else out. Whoever comes from
# that address itself waits for its turn: behind one router there may be a thousand clients, all of which
# come back at once when the gateway does.
_MAX_HANDSHAKES: Final = 512
_MAX_WAITING: Final = 4_096

_LAST_MOMENT: Final = 0.001  # seconds; none at all is no time that a handshake can be given

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
        self._waiting: deque[tuple[socket.socket, object, float]] = deque()  # oldest first, and since when
        self._forwarders = Forwarders(spec.accept_proxy_protocol)
        self._outer: tuple[Pem, ssl.SSLContext] | None = None  # once somebody wanted TLS around HTTP

    def start(self, listening: socket.socket) -> None:
        """Accept until closed."""
        self._spawn(self._accepting.run, self._accept, listening)

    async def update(self, spec: ControlSpec) -> None:
        await self._keyring.change(self._keys, spec.tls)
        if spec.timing != self._spec.timing:
            self._sessions.set_timing(spec.timing)
        self._forwarders = Forwarders(spec.accept_proxy_protocol)
        self._spec = spec

    async def close(self) -> None:
        self._keyring.forget(self._keys)
        await self._accepting.stop()

    async def _accept(self, listening: socket.socket) -> None:
        try:
            with listening:
                while True:
                    self._take(*await accept_from(listening))
        finally:
            while self._waiting:
                self._waiting.popleft()[0].close()

    def _take(self, connection: socket.socket, address: object) -> None:
        if len(self._handshakes) < _MAX_HANDSHAKES or self._make_room(host_of(address)):
            self._begin(connection, address)
        elif len(self._waiting) < _most_waiting():
            self._waiting.append((connection, address, anyio.current_time()))
        else:
            self._tell_of_refusal(host_of(address))
            connection.close()

    def _begin(self, connection: socket.socket, address: object) -> None:
        scope = anyio.CancelScope()
        self._handshakes[scope] = host_of(address)
        self._spawn(self._greet, Arrival(connection, address), scope)

    def _begin_next(self) -> None:
        """Whoever waits the longest has its turn, if it may still be there."""
        while self._waiting and len(self._handshakes) < _MAX_HANDSHAKES:
            connection, address, since = self._waiting.popleft()
            if anyio.current_time() - since < _HANDSHAKE_TIMEOUT:
                self._begin(connection, address)
            else:
                connection.close()

    def _make_room(self, host: str) -> bool:
        """End the oldest handshake of the crowd. Not for one of the crowd itself: it has its share."""
        counts = Counter(self._handshakes.values())
        crowd, most = counts.most_common(1)[0]
        if counts[host] >= most:
            return False
        self._tell_of_refusal(crowd)
        next(scope for scope, other in self._handshakes.items() if other == crowd).cancel()
        return True

    def _tell_of_refusal(self, crowd: str) -> None:
        if not self._is_full:  # one line, not one for each of a flood
            self._is_full = True
            _log.warning(
                "handshakes_refused",
                listen=str(self._spec.address),
                most_from=crowd,
                reason=f"{_MAX_HANDSHAKES} TLS handshakes are under way; the address with the most gives way",
            )

    async def _greet(self, arrival: Arrival, scope: anyio.CancelScope) -> None:
        timing = self._spec.timing
        link: Link | None = None
        try:
            with scope:
                link = await self._shake_hands(arrival, scope)
        except OnlyLookedError:
            pass
        except TidegateError as error:
            _log.warning("handshake_failed", address=arrival.name, reason=str(error))
        except OSError as error:
            _log.warning("handshake_failed", address=arrival.name, reason=explain_tls_error(error))
        finally:
            del self._handshakes[scope]
            self._is_full = self._is_full and len(self._handshakes) > _MAX_HANDSHAKES // 2
            self._begin_next()
        if link is not None:
            with self._links.holding(link):
                await self._sessions.serve(link, timing)

    async def _shake_hands(self, arrival: Arrival, scope: anyio.CancelScope) -> Link:
        """
        :raises OSError: if the handshake fails.
        :raises TidegateError: if the peer speaks another protocol, has to say for whom it speaks, or its
            certificate must be looked at again.
        """
        authorities = self._keys.pem.ca
        deadline = anyio.current_time() + _HANDSHAKE_TIMEOUT
        try:
            with anyio.fail_after(_HANDSHAKE_TIMEOUT):
                opening = await arrival.look(self._forwarders)
        except BaseException:
            arrival.connection.close()
            raise
        self._handshakes[scope] = arrival.host
        if opening is Opening.NATIVE:
            link = await self._link_on(arrival.connection, deadline)
        else:
            link = await self._accept_carried(arrival, opening, scope, deadline)
        link.stated_address = arrival.stated
        try:
            check_alpn(link.alpn)
            if self._keys.pem.ca != authorities:
                raise TlsError("the client CA was replaced during the handshake: the client dials again")
        except TlsError:
            link.abort()
            raise
        return link

    async def _link_on(self, connection: socket.socket, deadline: float) -> Link:
        patience = max(deadline - anyio.current_time(), _LAST_MOMENT)
        try:
            return await accept_link(connection, self._keys.context, handshake_timeout=patience)
        except Exception:  # when cancelled, the pump closes it: its loop may still be watching it
            connection.close()
            raise

    async def _accept_carried(
        self, arrival: Arrival, opening: Opening, scope: anyio.CancelScope, deadline: float
    ) -> Link:
        """A link within a WebSocket, and that within TLS of its own if nobody in front has ended it."""
        await to_thread.run_sync(_load_websocket)
        from .websocket import accept_websocket

        def judge(request: UpgradeRequest) -> None:
            arrival.forwarded(request.forwarded_for, self._forwarders)
            self._handshakes[scope] = arrival.host

        context = await self._outer_context() if opening is Opening.TLS else None
        patience = max(deadline - anyio.current_time(), _LAST_MOMENT)
        with anyio.fail_after(patience):
            inside, carrier = await accept_websocket(
                arrival.connection, context, handshake_timeout=patience, judge=judge
            )
        arrival.stated = arrival.stated or carrier.peer_address
        try:
            link = await self._link_on(inside, deadline)
        except BaseException:
            carrier.abort()
            raise
        link.carrier = carrier
        return link

    async def _outer_context(self) -> ssl.SSLContext:
        pem = self._keys.pem
        if self._outer is None or self._outer[0] is not pem:
            self._outer = pem, await to_thread.run_sync(partial(outer_gateway_context, self._keys.tls, pem))
        return self._outer[1]


class ControlPorts:
    """Opens control ports.

    :param spawn: starts tasks that live as long as the gateway.
    """

    def __init__(self, sessions: Sessions, keyring: Keyring, spawn: Spawn, bind: Bind = bind) -> None:
        self._sessions = sessions
        self._keyring = keyring
        self._bind = bind
        self.links = VouchedLinks(sessions)
        self._spawn = spawn
        keyring.on_authorities = self.links.end_unvouched
        keyring.on_lists = self.links.end_revoked

    async def __call__(self, spec: ControlSpec, failed: Failed) -> ControlPort:
        keys = await self._keyring.take(spec.tls, alpn=(ALPN,))
        try:
            listening = self._bind(spec.address)
        except BaseException:
            self._keyring.forget(keys)
            raise
        port = ControlPort(spec, keys, self._keyring, self._sessions, self.links, self._spawn, failed)
        port.start(listening)
        return port


def _most_waiting() -> int:
    """Whoever is silent waits as well. Where few files may be open, visitors need the rest of them."""
    limit = descriptor_limit()
    return _MAX_WAITING if limit is None else min(_MAX_WAITING, limit // 4)


def _load_websocket() -> None:
    """Nobody waits for these imports but who needs them."""
    from . import websocket  # noqa: F401 - to be loaded is all
