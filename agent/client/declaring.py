"""The tunnels that this client asks its gateways for, and what each gateway makes of them.

Rule: a declaration is the client's and not a session's. Of the sessions to one process of
a gateway one carries it, and when that one has ended another does; each gateway hears the
whole list when it is first reached, and whenever the list has changed. A gateway that has
tunnels of an earlier day from a client that declares none any more hears that, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from agent.actuator import Failed
from reconcile.actuator import ActionError
from reconcile.desired import DeclarationSpec
from schemas.messages import MAX_DECLARED, Declare, Declared, DeclaredTunnel, ServicesRefused
from schemas.state import OwnTunnel
from schemas.status import OwnTunnelStatus
from transport.wire.control import encode_message
from transport.wire.errors import LocalProtocolError

from .link_session import LinkSession, SessionState

_WAITING: Final = (
    "the gateway has not said what came of it; an older version takes no tunnels from clients: upgrade it"
)

_log: Any = structlog.get_logger("declaring")


@dataclass(slots=True)
class _Gateway:
    """One process of a gateway, as it is reached now."""

    name: str
    sessions: list[LinkSession] = field(default_factory=list)
    carrier: LinkSession | None = None
    sent: int = 0  # the number of the declaration that it heard last, 0 if it heard none
    outcomes: Mapping[str, str] | None = None  # the problem of each tunnel; None: it has not answered
    refused: tuple[str, ...] = ()  # services


class Declaring:
    """Tells the gateways. Also the resource of what is declared, and its opener."""

    is_alive = True  # nothing can happen to it

    def __init__(self) -> None:
        self._tunnels: tuple[DeclaredTunnel, ...] = ()
        self._number = 1
        self._gateways: dict[str, _Gateway] = {}

    # The resource

    async def __call__(self, spec: DeclarationSpec, failed: Failed) -> Declaring:
        await self.update(spec)
        return self

    async def update(self, spec: DeclarationSpec) -> None:
        """
        :raises ActionError: if that is more than can be said at a time.
        """
        tunnels = tuple(map(_entry, _bounded(spec.tunnels)))
        _check_length(tunnels)
        self._declare(tunnels)

    async def close(self) -> None:
        self._declare(())

    def _declare(self, tunnels: tuple[DeclaredTunnel, ...]) -> None:
        if tunnels == self._tunnels:
            return
        self._tunnels = tunnels
        self._number += 1
        for gateway in self._gateways.values():
            self._send(gateway)

    # The sessions

    def up(self, session: LinkSession) -> None:
        """There is another session; what the gateway says on it is heard from now on."""
        gateway = self._gateways.setdefault(session.instance, _Gateway(str(session.spec.gateway)))
        gateway.sessions.append(session)
        if gateway.carrier is None:
            self._carry(gateway)
        session.listen(self._heard)

    def down(self, session: LinkSession) -> None:
        """It has ended, or is about to."""
        gateway = self._gateways.get(session.instance)
        if gateway is None or session not in gateway.sessions:
            return
        gateway.sessions.remove(session)
        if not gateway.sessions:
            del self._gateways[session.instance]
        elif gateway.carrier is session:
            self._carry(gateway)

    def _carry(self, gateway: _Gateway) -> None:
        """Let one of the sessions carry the declaration from now on."""
        able = (session for session in gateway.sessions if session.state is SessionState.OPEN)
        gateway.carrier = next(able, None)
        if self._tunnels or gateway.sent:
            self._send(gateway)

    def _send(self, gateway: _Gateway) -> None:
        if gateway.carrier is not None:
            gateway.sent, gateway.outcomes = self._number, None
            gateway.carrier.session.tell(Declare(number=self._number, tunnels=self._tunnels))

    def _heard(self, session: LinkSession, message: ServicesRefused | Declared) -> None:
        gateway = self._gateways.get(session.instance)
        if gateway is None:
            return  # the session is about to end
        match message:
            case ServicesRefused(services=services):
                if services and services != gateway.refused:
                    _log.warning(
                        "services_refused", gateway=gateway.name, services=services, reason=_NOT_OFFERED
                    )
                gateway.refused = services
            case Declared(number=0, tunnels=tunnels):
                if tunnels and not self._tunnels:
                    self._send(gateway)
            case Declared(number=number, tunnels=tunnels) if number == gateway.sent:
                outcomes = {outcome.name: outcome.problem for outcome in tunnels}
                _log_news(gateway.name, gateway.outcomes or {}, outcomes)
                gateway.outcomes = outcomes
            case Declared():
                pass  # of what was declared before

    # What is to be told of it

    def status(self) -> tuple[OwnTunnelStatus, ...]:
        """Of each tunnel at each gateway that is reached."""
        return tuple(
            OwnTunnelStatus(
                gateway=gateway.name,
                name=tunnel.name,
                listen=tunnel.listen,
                hostname=tunnel.hostname,
                service=tunnel.service,
                answered=gateway.outcomes is not None,
                in_force=gateway.outcomes is not None and gateway.outcomes.get(tunnel.name) == "",
                message=_WAITING if gateway.outcomes is None else gateway.outcomes.get(tunnel.name, _WAITING),
            )
            for gateway in sorted(self._gateways.values(), key=lambda gateway: gateway.name)
            for tunnel in self._tunnels
        )

    @property
    def is_in_force(self) -> bool:
        """Whether each gateway that is reached has taken every tunnel."""
        return all(tunnel.in_force for tunnel in self.status())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a gateway does not let this client have."""
        return (
            *(
                f"{gateway.name} ignores the services {', '.join(gateway.refused)}: {_NOT_OFFERED}"
                for gateway in self._gateways.values()
                if gateway.refused
            ),
            *(
                f"the tunnel {name} is not in force at {gateway.name}: {problem}"
                for gateway in self._gateways.values()
                for name, problem in (gateway.outcomes or {}).items()
                if problem
            ),
        )


_NOT_OFFERED: Final = (
    "its file does not let this client offer them; have them added to services in the client's entry there, "
    "or take them out here"
)


def _log_news(gateway: str, before: Mapping[str, str], outcomes: Mapping[str, str]) -> None:
    for name, problem in outcomes.items():
        if before.get(name) == problem:
            continue
        if problem:
            _log.warning("tunnel_refused", gateway=gateway, tunnel=name, reason=problem)
        else:
            _log.info("tunnel_in_force", gateway=gateway, tunnel=name)


def _bounded(tunnels: Iterable[OwnTunnel]) -> tuple[OwnTunnel, ...]:
    """
    :raises ActionError: if they are too many.
    """
    found = tuple(tunnels)
    if len(found) > MAX_DECLARED:
        raise _too_much(
            f"{len(found)} tunnels are declared, and a gateway takes {MAX_DECLARED} from a client"
        )
    return found


def _check_length(tunnels: tuple[DeclaredTunnel, ...]) -> None:
    """
    :raises ActionError: if they do not fit into one message.
    """
    try:
        encode_message(Declare(number=2**31 - 1, tunnels=tunnels))
    except LocalProtocolError as error:
        raise _too_much("the tunnels do not fit into one message") from error


def _entry(tunnel: OwnTunnel) -> DeclaredTunnel:
    """
    :raises ActionError: if it does not fit into a message.
    """
    try:
        return DeclaredTunnel(
            name=tunnel.name,
            listen=tuple(str(address) for address in tunnel.listen),
            hostname=tunnel.hostname,
            service=tunnel.service,
            proxy_protocol=tunnel.proxy_protocol.value,
        )
    except ValueError as error:
        raise _too_much(f"the tunnel {tunnel.name} has too many addresses or hostnames") from error


def _too_much(what: str) -> ActionError:
    message = f"{what}: declare fewer, or have an operator write them into the gateway's file"
    return ActionError(message, reason="TooMany")
