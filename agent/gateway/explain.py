"""What becomes of a visitor, worked out without one.

Rule: pure, and decided by ``routing``, which is what leads visitors. What is added
here is words: which listener answers, what else would match, and who serves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final, assert_never

from reconcile.conditions import ClientsView
from reconcile.desired import ControlSpec, Key, ListenerSpec, ManagementSpec, RouteSpec, Spec, resources
from reconcile.observed import Observed, ObservedState, Phase
from schemas.errors import Problem
from schemas.explanation import Explanation, Match
from schemas.names import Balance, ListenAddress
from schemas.networks import Network, spell_network
from schemas.quantities import spell_duration
from schemas.state import GatewayState
from schemas.status import Standing

from .question import Question
from .refusal import Reason, TrafficKind, describe_refusal
from .routing import Refused, Routed, RouteTable, classify, decide
from .standing import NOTHING_KNOWN, BalancerView, ClientStanding, standings

_MOST_NEXT: Final = 5  # routes that are told besides the one that takes the visitor
_CLOSED: Final = "a refused connection, or whatever other program has the port"
_SHARED: Final[Mapping[Balance, str]] = {
    Balance.ROUND_ROBIN: "They get visitors in turn.",
    Balance.LEAST_CONNECTIONS: "The one with the fewest visitors gets the next.",
}
_OTHER_PORTS: Final[Mapping[type[ControlSpec | ManagementSpec], str]] = {
    ControlSpec: "the control port, where clients connect",
    ManagementSpec: "a management port, where the API answers",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a gateway knows at one moment. ``accepted`` and ``problems`` are those of the newest reading."""

    state: GatewayState | None
    generation: int
    accepted: bool
    problems: tuple[Problem, ...]
    observed: ObservedState
    clients: ClientsView
    balancer: BalancerView = NOTHING_KNOWN
    is_stopping: bool = False


def explain(question: Question, facts: Facts) -> Explanation:
    """What becomes of that visitor now, and why.

    :raises ValueError: if the question has more than one answer; says how to ask.
    """
    desired: Mapping[Key, Spec] = {} if facts.state is None else resources(facts.state)
    story = _Story(question, facts)
    story.tell_of_the_file()
    ports = {spec.address: (key, spec) for key, spec in _listeners(desired, facts.observed)}
    address = _answering(question, {address: spec for address, (_, spec) in ports.items()})
    if address is None:
        story.tell_of_no_listener(ports, desired.values())
    else:
        key, spec = ports[address]
        story.tell_of_listener(spec, desired.get(key), facts.observed.get(key))
    return story.told()


def decision_on(question: Question, table: RouteTable) -> Routed | Refused:
    """Where the visitor is led on the port with that table, or how it is refused."""
    if question.kind is not TrafficKind.RAW:
        return decide(question.kind, question.name, table)
    # Whoever names no host has its time to do so.
    found = classify(b"", table, eof=False, timed_out=True)
    assert isinstance(found, Routed | Refused)
    return found


def _listeners(desired: Mapping[Key, Spec], observed: ObservedState) -> Iterator[tuple[Key, ListenerSpec]]:
    """Every public port with what it does now, or is to do if it does nothing yet."""
    for key, spec in desired.items():
        if isinstance(spec, ListenerSpec):
            yield key, spec
    for key, seen in observed.items():
        if isinstance(seen.spec, ListenerSpec) and (seen.phase is Phase.OPEN or key not in desired):
            yield key, seen.spec


def _answering(question: Question, ports: Mapping[ListenAddress, ListenerSpec]) -> ListenAddress | None:
    """The address that a connection reaches: itself, or the one that stands for every address."""
    if len(question.addresses) == 1:
        (asked,) = question.addresses
        return next((address for address in ports if covers(address, asked)), None)
    same_port = sorted(address for address in ports if address.port == question.port)
    if len({ports[address].routes for address in same_port}) > 1:
        names = " and ".join(str(address) for address in same_port)
        raise ValueError(f"{names} lead to different tunnels; write the one that is meant")
    return next(iter(same_port), None)


def covers(address: ListenAddress, asked: ListenAddress) -> bool:
    """Whether a listener at an address takes connections to another; a wildcard takes those of its family.

    A wildcard and a specific address never share a port.
    """
    if address == asked:
        return True
    return address.is_wildcard and (address.family, address.port) == (asked.family, asked.port)


class _Story:
    """An explanation while it is told."""

    def __init__(self, question: Question, facts: Facts) -> None:
        self._question = question
        self._facts = facts
        self._why: list[str] = []
        self._gets = _CLOSED
        self._listener: ListenAddress | None = None
        self._match: Match | None = None
        self._next: tuple[Match, ...] = ()
        self._route: RouteSpec | None = None
        self._client: str | None = None

    def told(self) -> Explanation:
        return Explanation(
            listen=self._question.listen,
            kind=self._question.kind.value,
            name=self._question.name,
            served=self._client is not None,
            gets=self._gets,
            listener=None if self._listener is None else str(self._listener),
            match=self._match,
            next=self._next,
            client=self._client,
            service=None if self._route is None else self._route.service,
            why=tuple(self._why),
            generation=self._facts.generation,
            accepted=self._facts.accepted,
        )

    def tell_of_the_file(self) -> None:
        if self._facts.state is None:
            self._why.append("No state was accepted yet.")
        elif not self._facts.accepted:
            first = next((f" ({problem})" for problem in self._facts.problems), "")
            self._why.append(
                f"The newest state is refused{first}: generation {self._facts.generation} still counts."
            )

    def tell_of_no_listener(self, ports: Mapping[ListenAddress, object], specs: Iterable[Spec]) -> None:
        others = {
            spec.address: word
            for kind, word in _OTHER_PORTS.items()
            for spec in specs
            if isinstance(spec, kind)
        }
        for asked in self._question.addresses:
            for address, word in others.items():
                if covers(address, asked) or (
                    len(self._question.addresses) > 1 and address.port == self._question.port
                ):
                    self._gets = f"{word}, which asks for the certificate of a client"
                    self._why.append(f"{address} is {word}, and not a port for visitors.")
                    return
        same_port = [str(address) for address in sorted(ports) if address.port == self._question.port]
        if same_port:
            self._why.append(f"No tunnel listens at {self._question.listen}, but at {', '.join(same_port)}.")
        else:
            self._why.append(f"No tunnel listens at port {self._question.port}.")

    def tell_of_listener(self, spec: ListenerSpec, wanted: Spec | None, seen: Observed | None) -> None:
        self._listener = spec.address
        if seen is not None and seen.phase is Phase.OPEN:
            self._tell_who_answers(spec.address)
        is_open = self._tell_how_it_is(spec, wanted, seen)
        self._tell_of_forwarders(spec.accept_proxy_protocol)
        table = RouteTable(spec.routes)
        decision = decision_on(self._question, table)
        self._tell_of_peeking(table, spec.peek_timeout, after_header=bool(spec.accept_proxy_protocol))
        if isinstance(decision, Routed):
            self._tell_of_route(decision, table)
            if is_open:
                self._tell_of_clients(decision)
        else:
            self._tell_of_refusal(decision, table)
            if is_open:
                self._gets = describe_refusal(decision.kind, decision.reason)

    def _tell_who_answers(self, address: ListenAddress) -> None:
        if len(self._question.addresses) > 1 or address in self._question.addresses:
            return
        self._why.append(f"{address} answers, which is every IPv{address.family} address of the gateway.")

    def _tell_how_it_is(self, spec: ListenerSpec, wanted: Spec | None, seen: Observed | None) -> bool:
        """Whether it is open."""
        address = spec.address
        match seen.phase if seen is not None else None:
            case Phase.OPEN:
                if wanted is None:
                    self._why.append(f"{address} is not declared any more and is about to be closed.")
                elif wanted != spec:
                    self._why.append(f"A change of {address} is not in force yet; this is how it is now.")
                return True
            case Phase.FAILED if seen is not None:
                why = seen.message.rstrip(".") or "the log says why"
                if not why.startswith(str(address)):
                    why = f"{address} is not open: {why}"
                self._why.append(f"{why}. It is tried again by itself.")
            case Phase.CLOSING:
                self._why.append(f"{address} is being closed.")
            case _ if self._facts.is_stopping:
                self._why.append(f"The gateway is stopping, and {address} is closed.")
            case _:
                self._why.append(f"{address} is not open yet; ask again in a moment.")
        return False

    def _tell_of_forwarders(self, networks: Sequence[Network]) -> None:
        if networks:
            named = " or ".join(map(spell_network, networks))
            self._why.append(
                f"A visitor who comes from {named} must begin with a PROXY header, which says who it is, and "
                "is turned away without one; of all others none is believed."
            )

    def _tell_of_peeking(self, table: RouteTable, patience: float, *, after_header: bool) -> None:
        if not table.peeks:
            what = "what comes behind that header" if after_header else "what a visitor sends"
            asked = ", and neither does the name" if self._question.name is not None else ""
            self._why.append(f"No tunnel of this port has a hostname: {what} does not matter{asked}.")
        elif self._question.name is None:
            self._why.append(
                "Tunnels of this port have hostnames, and this visitor names none: it is given "
                f"{spell_duration(patience)} to do so."
            )

    def _tell_of_route(self, decision: Routed, table: RouteTable) -> None:
        ranking = [
            Match(tunnel=route.tunnel, hostname=hostname)
            for hostname, route in (table.ranking(decision.name) if decision.name is not None else ())
        ]
        if table.default is not None:
            ranking.append(Match(tunnel=table.default.tunnel, hostname=None))
        self._match, *others = ranking
        self._next = tuple(others[:_MOST_NEXT])
        self._route = decision.route
        tunnel = decision.route.tunnel
        if self._match.hostname is None:
            if decision.name is not None:
                self._why.append(f"No hostname of this port matches {decision.name}.")
            self._why.append(f"The default route of the port takes the visitor: the tunnel {tunnel}.")
        elif "*" not in self._match.hostname:
            self._why.append(f"The tunnel {tunnel} has this very hostname, which beats every pattern.")
        else:
            globs = sum(match.hostname is not None for match in ranking)
            longest = ", the longest of the patterns that match" if globs > 1 else ""
            self._why.append(f"The tunnel {tunnel} has {self._match.hostname}{longest}.")
        if self._next and self._match.hostname is not None:
            told = ", then ".join(_spelled(match) for match in self._next)
            self._why.append(f"Without it, these would take the visitor: {told}.")

    def _tell_of_refusal(self, decision: Refused, table: RouteTable) -> None:
        if decision.name is not None:
            self._why.append(f"No hostname of this port matches {decision.name}.")
        if table.peeks:
            self._why.append("The port has no default route: each of its tunnels has a hostname.")
        if table.peeks and self._question.kind is TrafficKind.RAW:  # it may speak either
            alert = describe_refusal(TrafficKind.TLS, Reason.NO_ROUTE)
            status = describe_refusal(TrafficKind.HTTP, Reason.NO_ROUTE)
            self._why.append(f"If it speaks TLS, it gets {alert}; if it speaks HTTP, {status}.")

    def _tell_of_clients(self, decision: Routed) -> None:
        route, view = decision.route, self._facts.clients
        all_of_them = standings(route, view, self._facts.balancer)
        serving = [one.client for one in all_of_them if one.standing is Standing.SERVES]
        for one in all_of_them:
            self._why.append(self._tell_of_client(one, route, shared=len(serving) > 1))
        if not serving:
            self._gets = describe_refusal(decision.kind, Reason.CLIENT_AWAY)
            return
        self._client = serving[0]
        self._gets = f"the service {route.service} of {' or '.join(serving)}"
        if len(serving) > 1:
            self._why.append(_SHARED[route.balance])

    def _tell_of_client(self, one: ClientStanding, route: RouteSpec, *, shared: bool) -> str:
        client, service, view = one.client, route.service, self._facts.clients
        match one.standing:
            case Standing.SERVES if shared:
                return f"{client} is connected and offers {service}: {_visitors(one.visitors)} now."
            case Standing.SERVES:
                return f"{client} is connected and offers {service}: it serves."
            case Standing.STANDS_BY:
                return f"{client} is connected and offers {service}: it stands by."
            case Standing.DOUBTED:
                left = spell_duration(float(ceil(self._facts.balancer.doubts[client, service])))
                return (
                    f"{client} is connected and offers {service}, but has not served a visitor lately: "
                    f"the others are asked first for {left}."
                )
            case Standing.DOES_NOT_OFFER:
                return f"{client} is connected but does not offer {service} now."
            case Standing.AWAY if view.admitted is not None and client not in view.admitted:
                return f"{client} may not connect: list it under clients in the state file."
            case Standing.AWAY if client in view.refused:
                return f"{client} is not connected: it was refused, because {view.refused[client]}."
            case Standing.AWAY:
                return f"{client} is not connected."
        assert_never(one.standing)


def _visitors(count: int) -> str:
    return "1 visitor" if count == 1 else f"{count} visitors"


def _spelled(match: Match) -> str:
    return f"{'the default route' if match.hostname is None else match.hostname} ({match.tunnel})"
