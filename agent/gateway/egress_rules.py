"""What a client may reach through the gateway.

Rule: pure and total, and whatever no rule allows is refused. It is asked twice: of the host as the client
wrote it, before a name is resolved, and of each address that is about to be dialed.

An address that is not of the public internet is reached only where a rule names it by a network that lies
within its special range: neither a name, nor ``*``, nor ``0.0.0.0/0`` opens what is beside the gateway. So
whoever owns a name cannot point it at the gateway's neighbors. An address of the gateway's own machine must
be named alone, and a port on which the gateway itself listens by its own number as well.

What the client is told never says where a name leads: that is for the gateway's log. Of an address that it
has named itself it hears what anybody could look up, that it is loopback or private; and that it is one of
the gateway's own only where nothing else is in the way, which asking for the next one would tell as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import ip_address
from typing import Final

from schemas.egress import ANY_HOST, HostGlob
from schemas.globs import compile_glob
from schemas.names import HostPort
from schemas.networks import Network
from schemas.state import EgressRule

from .special_addresses import LOOPBACK, Address, destination, is_within, special_range

_ANY_CLIENT: Final = "*"
_NAME: Final = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
# What resolvers take for an IPv4 address in a spelling of 1983, whatever its first parts look like (the URL
# Standard of WHATWG, "ends in a number"). No top-level domain is a number.
_ENDS_IN_A_NUMBER: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")


class Standing(Enum):
    """What an address and port are to the gateway itself."""

    ELSEWHERE = auto()
    OWN_ADDRESS = auto()  # of its machine
    OWN_PORT = auto()  # of its machine, and it listens there


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A destination that may be looked for. ``address`` is None for a name, which is to be resolved."""

    host: str
    port: int
    address: Address | None
    is_named: bool  # a rule allows the host as it is written


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why not, and which rule is missing: for the client, and for the gateway's log."""

    told: str
    logged: str


@dataclass(frozen=True, slots=True)
class _Rule:
    """One rule for a client, ready to be asked."""

    any_host: bool
    names: tuple[re.Pattern[str], ...]
    networks: tuple[Network, ...]
    rule: EgressRule

    def has_port(self, port: int) -> bool:
        return any(port in ports for ports in self.rule.ports)

    def has_port_alone(self, port: int) -> bool:
        return any(ports.first == ports.last == port for ports in self.rule.ports)

    def names_host(self, host: str) -> bool:
        return self.any_host or any(name.fullmatch(host) for name in self.names)


class ClientRules:
    """What one client may reach."""

    def __init__(self, client: str, rules: Iterable[EgressRule]) -> None:
        self._client = client
        self._rules = tuple(
            _Rule(
                any_host=ANY_HOST in rule.to,
                names=tuple(compile_glob(to.glob) for to in rule.to if isinstance(to, HostGlob)),
                networks=tuple(to for to in rule.to if not isinstance(to, HostGlob)),
                rule=rule,
            )
            for rule in rules
            if client in rule.client or _ANY_CLIENT in rule.client
        )

    def ask(self, host: str, port: int) -> Asked | Refusal:
        """Whether to look for a destination.

        A name that no rule allows is looked for if a network might hold its address.

        :param host: an IP address, or a name in lower case without a dot at its end.
        """
        try:
            address = ip_address(host)
        except ValueError:
            address = None
        rules = [rule for rule in self._rules if rule.has_port(port)]
        if address is not None:
            is_named = any(rule.any_host for rule in rules)
            return Asked(host=str(address), port=port, address=address, is_named=is_named)
        if _ENDS_IN_A_NUMBER.fullmatch(host) or not _NAME.fullmatch(host):
            return _alike(
                f"{host} is no name, and no address as addresses are written: "
                "ask for four decimal numbers, or for an IPv6 address"
            )
        is_named = any(rule.names_host(host) for rule in rules)
        if is_named or any(rule.networks for rule in rules):
            return Asked(host=host, port=port, address=None, is_named=is_named)
        return self._no_rule(host, port)

    def judge(self, asked: Asked, address: Address, standing: Standing) -> Refusal | None:
        """Why that address may not be dialed for it; None if it may."""
        judged = destination(address)
        special = special_range(judged)
        rules = [rule for rule in self._rules if rule.has_port(asked.port)]
        naming = [
            (rule, network)
            for rule in rules
            for network in rule.networks
            if network.version == judged.version
            and judged in network
            and (special is None or is_within(network, special))
        ]
        match standing:
            case Standing.OWN_PORT:
                why = "one of the gateway's own ports"
                if any(
                    network.num_addresses == 1 and rule.has_port_alone(asked.port) for rule, network in naming
                ):
                    return None
            case Standing.OWN_ADDRESS if special is None or special.kind != LOOPBACK:
                why = "an address of the gateway's own machine"
                if any(network.num_addresses == 1 for _, network in naming):
                    return None
            case _ if special is not None:
                why = special.kind
                if naming:
                    return None
            case _:
                if asked.is_named or naming:
                    return None
                return self._no_rule(asked.host, asked.port)
        is_else_allowed = bool(naming) or (special is None and asked.is_named)
        known = why if is_else_allowed else "" if special is None else special.kind
        return self._not_named(asked, judged, why, known)

    def _no_rule(self, host: str, port: int, known: str = "") -> Refusal:
        which = f", which is {known}" if known else ""
        return _alike(
            f"the client {self._client} may not reach {HostPort(host, port)}{which}: "
            f"add to egress.allow in the gateway's file {self._rule_for(host, port)}"
        )

    def _not_named(self, asked: Asked, judged: Address, why: str, known: str) -> Refusal:
        """Only a rule that names that address would allow it. ``known`` is what the client may hear of it."""
        missing = f"add to egress.allow {self._rule_for(str(judged), asked.port)}"
        if asked.address is not None:
            told = self._no_rule(str(judged), asked.port, known).told
            return Refusal(told=told, logged=f"{HostPort(str(judged), asked.port)} is {why}: {missing}")
        return Refusal(
            told=(
                f"the client {self._client} may not reach where {asked.host} leads: "
                "the gateway's log says what to add to egress.allow in its file"
            ),
            logged=f"{asked.host} leads to {HostPort(str(judged), asked.port)}, which is {why}: {missing}",
        )

    def _rule_for(self, host: str, port: int) -> str:
        return f'{{client: {self._client}, to: "{host}", ports: {port}}}'


def _alike(message: str) -> Refusal:
    return Refusal(told=message, logged=message)
