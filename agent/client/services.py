"""The client's services: what it offers, and the connection that it makes to one for a visitor.

Rule: this file dials targets. The gateway names a service, never an address: what
a client reaches is decided beside the services.
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, assert_never

import structlog

from agent.dialed import DialedConnection
from agent.lingering import Lingering
from agent.process.descriptors import TOO_MANY
from agent.process.spawn import Spawn, spawn_nothing
from agent.traffic import TrafficBook, service_side
from reconcile.desired import ServicesSpec
from schemas.messages import FailureCode
from schemas.names import ProxyProtocol, ServiceEntry, ServiceName, Target, join_host_port
from schemas.status import ServiceHealth, ServiceStatus
from transport.offer import Offer
from transport.pump.link import Link
from transport.pump.relay import Relay, RelayEnd
from transport.session import Session
from transport.wire.open_header import OpenHeader
from transport.wire.proxy_protocol import build_v1, build_v2

from .health import HealthChecks
from .target import DIAL_TIMEOUT, dial_target

_NUMBER: Final = re.compile(r"\[Errno (\d+)\]")

_log: Any = structlog.get_logger("services")


class Services:
    """Everything this client offers. ``on_change`` is called when that has changed.

    :param spawn: starts what looks after services; needed for those that have a health check.
    """

    is_alive = True  # nothing can happen to it

    def __init__(self, spawn: Spawn = spawn_nothing) -> None:
        self.on_change: Callable[[], None] = _nobody
        self.traffic = TrafficBook(service_side)
        self.log: Any = _log.bind()  # once: a logger that is not bound is made anew for each line
        self._targets: dict[ServiceName, ServiceEntry] = {}
        self._last_error: dict[ServiceName, str] = {}
        self._health = HealthChecks(spawn, self)

    @property
    def names(self) -> tuple[ServiceName, ...]:
        """What is offered now."""
        return tuple(
            name
            for name, entry in self._targets.items()
            if self._health.of(name, entry) is not ServiceHealth.FAILS
        )

    async def update(self, spec: ServicesSpec) -> None:
        self._targets = dict(spec.targets)
        self._health.update(self._targets)
        self.on_change()

    async def close(self) -> None:
        await self.update(ServicesSpec(targets=()))

    def status(self) -> tuple[ServiceStatus, ...]:
        return tuple(
            ServiceStatus(
                name=name,
                target=str(entry),
                health=self._health.of(name, entry),
                last_error=self._last_error.get(name),
                traffic=self.traffic[name].snapshot(),
            )
            for name, entry in self._targets.items()
        )

    @property
    def open(self) -> int:
        """How many connections to services there are."""
        return self.traffic.open

    def visits(self) -> Mapping[ServiceName, int]:
        """How many visitors each service has now."""
        return {name: self.traffic[name].snapshot().open for name in self._targets}

    def connect(self, offer: Offer, session: Session, lingering: Lingering) -> None:
        """Dial the service that an offered stream asks for, and join the two once it answers."""
        header = offer.header
        assert isinstance(header, OpenHeader)  # as a client's session looks for no other
        name = ServiceName(header.service)
        entry = self._targets.get(name)
        if entry is None:
            message = f"the client offers no service {name!r}; add it under services in the client's file"
            offer.refuse(FailureCode.UNKNOWN_SERVICE, message)
            self.log.warning("stream_failed", tunnel=header.tunnel, service=name, reason=message)
            return
        ServiceConnection(self, header, entry.target, lingering).dial(offer, session.link, DIAL_TIMEOUT)

    def answered(self, name: ServiceName, relay: Relay) -> None:
        """A service has taken a connection."""
        self._last_error.pop(name, None)
        self.traffic[name].opened(relay)

    def failed(self, name: ServiceName, message: str) -> None:
        """A service has not."""
        self._last_error[name] = message

    # HealthOwner

    def tried(self, name: ServiceName, timeout: float, error: OSError | None) -> None:
        if error is None:
            self._last_error.pop(name, None)
        else:
            self.failed(name, f"{self._targets[name]}: {_explain(error, timeout)}")

    def fails(self, name: ServiceName) -> None:
        self.log.warning("service_withdrawn", service=name, reason=self._last_error.get(name))
        self.on_change()

    def answers(self, name: ServiceName) -> None:
        self.log.info("service_offered", service=name, target=str(self._targets[name]))
        self.on_change()


class ServiceConnection(DialedConnection):
    """The connection to one service, for one visitor; the owner of its relay."""

    __slots__ = ("_header", "_name", "_services", "_target")

    def __init__(self, services: Services, header: OpenHeader, target: Target, lingering: Lingering) -> None:
        super().__init__(lingering)
        self._services = services
        self._header = header
        self._name = ServiceName(header.service)
        self._target = target

    def _dialing(self) -> Coroutine[Any, Any, Relay]:
        return dial_target(self._target, self)

    def _prologue(self) -> bytes:
        return _prologue(self._header)

    def _join(self, offer: Offer, link: Link, relay: Relay, prologue: bytes) -> None:
        self._services.answered(self._name, relay)
        offer.join(relay, link, prologue)

    def _failed(self, offer: Offer, error: OSError) -> None:
        self._fail(offer, _explain(error, DIAL_TIMEOUT))

    def _has_no_room(self, offer: Offer) -> None:
        self._fail(offer, TOO_MANY)

    def _fail(self, offer: Offer, why: str) -> None:
        message = f"{self._target}: {why}"
        self._services.failed(self._name, message)
        offer.refuse(FailureCode.SERVICE_DOWN, f"service {self._name} does not answer")
        self._say(self._services.log.warning, "stream_failed", reason=message)

    def _is_defect(self, offer: Offer, error: BaseException) -> None:
        offer.refuse(FailureCode.OTHER, "the client failed inside; look into its log")
        reason = f"a defect in Tidegate: {type(error).__name__}; please report it"
        self._say(self._services.log.error, "stream_failed", reason=reason, exc_info=error)

    def _abandoned(self) -> None:
        self._say(
            self._services.log.info,
            "stream_abandoned",
            reason="its stream was reset before the service answered",
        )

    def _closed(self, relay: Relay, end: RelayEnd) -> None:
        self._services.traffic[self._name].closed(relay)
        self._services.log.info(
            "stream_closed",
            tunnel=self._header.tunnel,
            service=self._name,
            target=str(self._target),
            visitor=join_host_port(*self._header.source),
            end=end.value,
            bytes_in=relay.bytes_written,
            bytes_out=relay.bytes_read,
            seconds=round(time.monotonic() - self._started, 3),
        )

    def _say(self, log: Callable[..., object], event: str, **details: object) -> None:
        log(event, tunnel=self._header.tunnel, service=self._name, **details)


def _nobody() -> None:
    """Nobody listens yet."""


def _prologue(header: OpenHeader) -> bytes:
    match header.proxy_protocol:
        case ProxyProtocol.OFF:
            return b""
        case ProxyProtocol.V1:
            return build_v1(header.source, header.destination)
        case ProxyProtocol.V2:
            return build_v2(header.source, header.destination)
    assert_never(header.proxy_protocol)


def _explain(error: OSError, timeout: float) -> str:
    if isinstance(error, TimeoutError) and not error.errno:
        return f"no answer within {timeout:g} s; check that the service is up and reachable"
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
