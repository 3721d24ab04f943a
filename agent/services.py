"""The client's services: what it offers, and the connection that it makes to one for a visitor.

Rule: this file dials targets. The gateway names a service, never an address: what
a client reaches is decided beside the services.
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable
from typing import Any, Final, assert_never

import anyio
import structlog

from reconcile.desired import ServicesSpec
from schemas.messages import FailureCode
from schemas.names import HostPort, ProxyProtocol, ServiceName, Target, TcpTarget, UnixTarget
from schemas.status import ServiceStatus
from transport.offer import Offer
from transport.pump.relay import Relay, RelayEnd
from transport.pump.sockets import dial_tcp, dial_unix
from transport.session import Session
from transport.wire.open_header import OpenHeader
from transport.wire.proxy_protocol import build_v1, build_v2

from .lingering import Lingering
from .traffic import TrafficBook, service_side

DIAL_TIMEOUT: Final = 10.0

_NUMBER: Final = re.compile(r"\[Errno (\d+)\]")

_log: Any = structlog.get_logger("services")


class Services:
    """Everything this client offers. ``on_change`` is called when that has changed."""

    is_alive = True  # nothing can happen to it

    def __init__(self) -> None:
        self.on_change: Callable[[], None] = _nobody
        self.traffic = TrafficBook(service_side)
        self._targets: dict[ServiceName, Target] = {}
        self._last_error: dict[ServiceName, str] = {}

    @property
    def names(self) -> tuple[ServiceName, ...]:
        return tuple(self._targets)

    async def update(self, spec: ServicesSpec) -> None:
        self._targets = dict(spec.targets)
        self.on_change()

    async def close(self) -> None:
        await self.update(ServicesSpec(targets=()))

    def status(self) -> tuple[ServiceStatus, ...]:
        return tuple(
            ServiceStatus(
                name=name,
                target=str(target),
                last_error=self._last_error.get(name),
                traffic=self.traffic[name].snapshot(),
            )
            for name, target in self._targets.items()
        )

    async def connect(self, offer: Offer, session: Session, lingering: Lingering) -> None:
        """Dial the service that an offered stream asks for, and join the two."""
        header = offer.header
        assert header is not None  # an offer is passed on when its header is there
        log = _log.bind(tunnel=header.tunnel, service=header.service)
        name = ServiceName(header.service)
        target = self._targets.get(name)
        if target is None:
            message = f"the client offers no service {name!r}; add it under services in the client's file"
            offer.refuse(FailureCode.UNKNOWN_SERVICE, message)
            log.warning("stream_failed", reason=message)
            return
        connection = ServiceConnection(header, target, self.traffic, lingering)
        try:
            prologue = _prologue(header)
            relay = await _dial_for(offer, target, connection)
        except OSError as error:  # TimeoutError is one
            message = f"{target}: {_explain(error)}"
            self._last_error[name] = message
            offer.refuse(FailureCode.SERVICE_DOWN, f"service {name} does not answer")
            log.warning("stream_failed", reason=message)
            return
        except Exception:
            offer.refuse(FailureCode.OTHER, "the client failed inside; look into its log")
            raise
        if relay is None:
            log.info("stream_abandoned", reason="the visitor left before the service answered")
            return
        self._last_error.pop(name, None)
        self.traffic[name].opened(relay)
        offer.join(relay, session.link, prologue)


class ServiceConnection:
    """The owner of the relay to one service, for one visitor."""

    def __init__(
        self, header: OpenHeader, target: Target, traffic: TrafficBook, lingering: Lingering
    ) -> None:
        self._header = header
        self._target = target
        self._traffic = traffic
        self._lingering = lingering
        self._started = time.monotonic()

    def half_closed(self, relay: Relay) -> None:
        self._lingering.add(relay)

    def ended(self, relay: Relay, end: RelayEnd) -> None:
        if relay.stream is None:
            return  # the dial was given up, and who did that has said so
        self._lingering.discard(relay)
        self._traffic[self._header.service].closed(relay)
        _log.info(
            "stream_closed",
            tunnel=self._header.tunnel,
            service=self._header.service,
            target=str(self._target),
            visitor=str(HostPort(self._header.source.host, self._header.source.port)),
            end=end.value,
            bytes_in=relay.bytes_written,
            bytes_out=relay.bytes_read,
            seconds=round(time.monotonic() - self._started, 3),
        )

    def connected(self, relay: Relay) -> None:
        """Whoever dials gets the relay."""

    def peeked(self, relay: Relay) -> None:
        """A service is never peeked at."""

    def timed_out(self, relay: Relay) -> None:
        """No deadline is set."""

    def acknowledged(self, relay: Relay) -> None:
        """The gateway opened the stream, not we."""

    def refused(self, relay: Relay) -> None:
        """The gateway opened the stream, not we."""


def _nobody() -> None:
    """Nobody listens yet."""


async def _dial_for(offer: Offer, target: Target, connection: ServiceConnection) -> Relay | None:
    """Dial for as long as the visitor waits; None if it has left.

    :raises OSError: if nobody answers.
    """
    relay: Relay | None = None
    if not offer.stream.is_closed:
        with anyio.CancelScope() as dialing:
            offer.on_reset = dialing.cancel
            with anyio.fail_after(DIAL_TIMEOUT):
                relay = await _dial(target, connection)
    if relay is not None and offer.stream.is_closed:
        relay.abort()
        return None
    return relay


async def _dial(target: Target, connection: ServiceConnection) -> Relay:
    match target:
        case TcpTarget(host=host, port=port):
            return await dial_tcp(host, port, connection)
        case UnixTarget(path=path):
            return await dial_unix(path, connection)
    assert_never(target)


def _prologue(header: OpenHeader) -> bytes:
    match header.proxy_protocol:
        case ProxyProtocol.OFF:
            return b""
        case ProxyProtocol.V1:
            return build_v1(header.source, header.destination)
        case ProxyProtocol.V2:
            return build_v2(header.source, header.destination)
    assert_never(header.proxy_protocol)


def _explain(error: OSError) -> str:
    if isinstance(error, TimeoutError) and not error.errno:
        return f"no answer within {DIAL_TIMEOUT:g} s; check that the service is up and reachable"
    # Of a name with several addresses a loop tells all errors in one sentence, and no number but in there.
    numbers = _NUMBER.findall(str(error))
    match error.errno or (int(numbers[0]) if numbers else None):
        case errno.ECONNREFUSED:
            return "connection refused; start the service, or correct its address in the client's file"
        case errno.ENOENT:
            return "there is no such socket; start the service, or correct its path in the client's file"
        case errno.EACCES:
            return "permission denied; let this user open the socket"
        case _:
            return error.strerror or str(error)
