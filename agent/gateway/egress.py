"""What clients reach through this gateway, as a resource: there is one, and it changes in place.

Rule: every connection that the gateway makes for a client is counted here from the moment it is asked for,
and cut here when the rules that allowed it are gone. What the rules say is decided in ``egress_rules``, and
how one connection comes about in ``egress_connection``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

import structlog

from agent.actuator import Failed
from agent.traffic import TrafficBook
from reconcile.actuator import ActionError
from reconcile.desired import ControlSpec, EgressSpec, Key, ListenerSpec, ManagementSpec, Spec
from reconcile.observed import ObservedState
from schemas.messages import FailureCode
from schemas.names import ClientId
from transport.offer import Offer
from transport.pump.relay import Relay
from transport.wire.egress_header import EgressHeader

from .egress_names import Names
from .egress_room import MOST_IN_VAIN, Pace, Room
from .egress_rules import ClientRules, Standing
from .own_addresses import can_bind, is_own
from .special_addresses import Address, destination

if TYPE_CHECKING:
    from .connected_client import ConnectedClient
    from .egress_connection import EgressConnection

# Destinations that one client has dialed at once. Each costs descriptors, and there are many clients.
OPENING: Final = 256

# Clients whose rules are kept ready. Where the file lists none, any number of them come and go.
_MOST_KEPT: Final = 1_000

NOTHING: Final = EgressSpec(bind=(), allow=())

_log: Any = structlog.get_logger("egress")


class Egress:
    """The rules in force, and the connections that there are.

    :param names: finds the addresses of names.
    :param observe: tells which ports are the gateway's own.
    :param traffic: counts the bytes of each client.
    """

    def __init__(self, names: Names, observe: Callable[[], ObservedState], traffic: TrafficBook) -> None:
        self.names = names
        self.room = Room()
        self._pace = Pace()
        self._observe = observe
        self._observed: ObservedState | None = None  # when the ports below were looked up
        self._ports: frozenset[int] = frozenset()
        self._traffic = traffic
        self._spec = NOTHING
        self._rules: dict[ClientId, ClientRules] = {}
        self._opening: dict[ClientId, set[EgressConnection]] = {}
        self._joined: dict[ClientId, set[EgressConnection]] = {}
        self._is_draining = False

    def ask(self, client: ConnectedClient, offer: Offer) -> None:
        """A client wants something dialed."""
        from .egress_connection import DIAL_TIMEOUT, EgressConnection  # most gateways dial nothing

        header = offer.header
        assert isinstance(header, EgressHeader)  # as a gateway's session looks for no other
        if self._pace.is_too_fast(client.id):
            told = (
                f"what the client {client.id} asked for came to nothing {MOST_IN_VAIN} times in this second"
            )
            offer.refuse(FailureCode.OTHER, f"{told}; wait for the next one")
            return
        connection = EgressConnection(self, client, header)
        opening = self._opening.setdefault(client.id, set())
        if self._is_draining:
            connection.refuse(offer, FailureCode.OTHER, "the gateway is stopping; ask another one")
        elif len(opening) >= OPENING:
            told = f"the client {client.id} dials {OPENING} destinations already; wait for one of them"
            connection.refuse(offer, FailureCode.OTHER, told)
        elif connection.ask(offer):
            opening.add(connection)
            connection.dial(offer, client.session.link, DIAL_TIMEOUT)

    # The rules

    def set_rules(self, spec: EgressSpec) -> None:
        """Go by other rules. What they do not allow is cut."""
        self._spec = spec
        self._rules.clear()
        for joined in list(self._joined.values()):
            for connection in list(joined):
                refusal = connection.refusal(self.rules(connection.client.id))
                if refusal is not None:
                    connection.cut(f"it is no longer allowed: {refusal.logged}")

    def losing(self, spec: EgressSpec) -> Mapping[ClientId, int]:
        """How many connections of each client :meth:`set_rules` would cut."""
        losing: dict[ClientId, int] = {}
        for client, joined in self._joined.items():
            rules = ClientRules(client, spec.allow)
            count = sum(connection.refusal(rules) is not None for connection in joined)
            if count:
                losing[client] = count
        return losing

    def rules(self, client: ClientId) -> ClientRules:
        """What that client may reach."""
        rules = self._rules.get(client)
        if rules is None:
            if len(self._rules) >= _MOST_KEPT:
                self._rules.clear()
            rules = self._rules[client] = ClientRules(client, self._spec.allow)
        return rules

    @property
    def sources(self) -> Mapping[int, str]:
        """The address to dial from, for each version of IP; none at all if the system is to choose."""
        return {ip_address(text).version: text for text in self._spec.bind}

    def standing(self, address: Address, port: int) -> Standing:
        """What that is to this gateway.

        :raises OSError: if the system does not say.
        """
        if not is_own(address) and not is_own(destination(address)):
            return Standing.ELSEWHERE
        return Standing.OWN_PORT if port in self._own_ports() else Standing.OWN_ADDRESS

    def _own_ports(self) -> frozenset[int]:
        """On whichever address: who reaches one from within is asked by no firewall."""
        observed = self._observe()
        if observed is not self._observed:  # there may be ten thousand, and a client may ask all the time
            self._observed = observed
            self._ports = frozenset(
                seen.spec.address.port
                for seen in observed.values()
                if isinstance(seen.spec, ControlSpec | ManagementSpec | ListenerSpec)
            )
        return self._ports

    # The connections

    @property
    def open(self) -> int:
        """How many there are, also those that are being dialed."""
        return sum(map(len, self._joined.values())) + sum(map(len, self._opening.values()))

    def open_of(self, client: ClientId) -> int:
        """How many a client has, without those that are being dialed."""
        return len(self._joined.get(client, ()))

    def drain(self) -> None:
        """Dial nothing more. What is open stays."""
        self._is_draining = True

    def turn_everyone_away(self) -> None:
        """Cut every connection, at the end of the gateway."""
        for joined in list(self._joined.values()):
            for connection in list(joined):
                connection.cut("the gateway is stopping")

    def joined(self, connection: EgressConnection, relay: Relay) -> None:
        """Somebody answered."""
        _remove(self._opening, connection)
        self.room.take(connection.client.id)
        self._joined.setdefault(connection.client.id, set()).add(connection)
        self._traffic[connection.client.id].opened(relay)

    def closed(self, connection: EgressConnection, relay: Relay) -> None:
        """It has ended."""
        _remove(self._joined, connection)
        self.room.give_back(connection.client.id)
        self._traffic[connection.client.id].closed(relay)

    def discard(self, connection: EgressConnection) -> None:
        """It came to nothing, whether it was dialed or not."""
        _remove(self._opening, connection)
        client = connection.client.id
        if self._pace.failed(client):
            reason = (
                f"{MOST_IN_VAIN} connections that it asked for within a second came to nothing: "
                "more of them are refused without a line each; see what its programs are at"
            )
            _log.warning("egress_too_fast", client=client, reason=reason)


def _remove(connections: dict[ClientId, set[EgressConnection]], connection: EgressConnection) -> None:
    client = connection.client.id
    of_client = connections.get(client)
    if of_client is not None:
        of_client.discard(connection)
        if not of_client:
            del connections[client]


class EgressRules:
    """The rules as a resource."""

    is_alive = True  # nothing can happen to it

    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    async def update(self, spec: EgressSpec) -> None:
        """Rules that allow less are in force whether there is an address to dial from or not.

        :raises ActionError: if there is not.
        """
        self._egress.set_rules(spec)
        _check_sources(spec)

    async def close(self) -> None:
        """Nobody reaches anything any more."""
        self._egress.set_rules(NOTHING)


class EgressOpener:
    """Puts the rules in force."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    async def __call__(self, spec: EgressSpec, failed: Failed) -> EgressRules:
        _check_sources(spec)
        rules = EgressRules(self._egress)
        await rules.update(spec)
        return rules


def _check_sources(spec: EgressSpec) -> None:
    """
    :raises ActionError: if this machine has not the addresses to dial from.
    """
    for message in _missing_sources(spec):
        raise ActionError(message, reason="NoSuchAddress")


def missing_sources(desired: Mapping[Key, Spec]) -> Iterator[str]:
    """What of a state's addresses to dial from this machine has not now, so that nothing would be dialed."""
    for spec in desired.values():
        if isinstance(spec, EgressSpec):
            yield from _missing_sources(spec)


def _missing_sources(spec: EgressSpec) -> Iterator[str]:
    for text in spec.bind:
        if not can_bind(ip_address(text)):
            yield f"egress.bind: {text} is not an address of this machine; write one that ip addr shows"
