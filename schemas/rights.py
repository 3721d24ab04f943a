"""What a gateway's file lets each client do: which services it may offer, and which ports it may ask for.

Rule: pure. What the entry of a client under ``clients`` means is decided here, and nowhere else. What is
not written there is not restricted: a client without rights may what every client may.

``services`` holds for whoever wrote the tunnel. ``listen``, ``declares`` and ``max_ports`` hold for tunnels
that the client itself declares; an operator may lead to it from anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final

from .globs import compile_glob
from .names import ClientId, Declares, ListenAddress, ServiceName
from .quoting import quote
from .state import ClientEntry, GatewaySettings, Tunnel

# Patterns that are kept. They are an operator's, and so not many.
_KEPT: Final = 1_000


def may_offer(entry: ClientEntry | None, service: ServiceName) -> bool:
    """Whether the client may offer a service of that name."""
    if entry is None or entry.services is None:
        return True
    return _pattern(entry.services).fullmatch(service) is not None


def may_listen(entry: ClientEntry | None, address: ListenAddress) -> bool:
    """Whether a tunnel that the client declares may listen there."""
    if entry is None or entry.listen is None:
        return True
    return any(pattern.covers(address) for pattern in entry.listen)


def most_ports(entry: ClientEntry | None) -> int | None:
    """How many listen addresses the tunnels may have that the client declares; None: as many as it likes.

    Where an entry says nothing but the id, there is no limit, as there was none before there were rights.
    """
    if entry is None:
        return None
    has_rights = (entry.services, entry.listen, entry.declares) != (None, None, None)
    return entry.max_ports if has_rights or "max_ports" in entry.model_fields_set else None


def may_use_the_api(entry: ClientEntry | None) -> bool:
    """Whether the client may declare tunnels through the API."""
    return entry is None or entry.declares is not Declares.NONE


def may_declare(entry: ClientEntry | None) -> bool:
    """Whether tunnels are taken from the client's own file."""
    return entry is not None and entry.declares in (Declares.SESSION, Declares.KEPT)


def spell_listen(entry: ClientEntry) -> str:
    """Where tunnels may listen that the client declares, for a message."""
    patterns = [str(pattern) for pattern in entry.listen or ()]
    return ", ".join(patterns) if patterns else "no address"


class Right(Enum):
    """What may be written in the entry of a client, by its key."""

    SERVICES = "services"
    LISTEN = "listen"
    DECLARES = "declares"
    MAX_PORTS = "max_ports"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """What a tunnel has that its client may not.

    ``tunnel`` and ``at`` are the numbers of the tunnel and of the client or address in it; ``message`` tells
    an operator what to do.
    """

    right: Right
    client: ClientId
    tunnel: int
    at: int
    message: str


def breaches(
    gateway: GatewaySettings | None, clients: Sequence[ClientEntry], tunnels: Sequence[Tunnel]
) -> Iterator[Breach]:
    """Everything that any tunnel has and its client may not."""
    entries = {entry.id: entry for entry in clients if most_ports(entry) is not None}
    if not entries:
        return  # as in most files, which may hold ten thousand tunnels
    yield from _services(entries, tunnels)
    yield from _declared(entries, frozenset(gateway.admins if gateway is not None else ()), tunnels)


def is_own(tunnel: Tunnel) -> bool:
    """Whether its client has declared it for itself."""
    return tunnel.declared_by is not None and tunnel.client == (tunnel.declared_by,)


def _services(entries: Mapping[ClientId, ClientEntry], tunnels: Sequence[Tunnel]) -> Iterator[Breach]:
    for index, tunnel in enumerate(tunnels):
        for choice, client in enumerate(tunnel.client):
            if not may_offer(entries.get(client), tunnel.service):
                message = (
                    f"the client {quote(client)} may not offer the service {quote(tunnel.service)}; "
                    "add it to the services of that client, or name another"
                )
                yield Breach(right=Right.SERVICES, client=client, tunnel=index, at=choice, message=message)


def _declared(
    entries: Mapping[ClientId, ClientEntry], admins: frozenset[ClientId], tunnels: Sequence[Tunnel]
) -> Iterator[Breach]:
    used: dict[ClientId, set[tuple[str, int]]] = {}
    for index, tunnel in enumerate(tunnels):
        if tunnel.declared_by is None or not is_own(tunnel) or tunnel.client[0] in admins:
            continue
        client = tunnel.client[0]
        entry = entries.get(client)
        if entry is None:
            continue
        for right, at, message in _own_breaches(entry, tunnel, used.setdefault(client, set())):
            yield Breach(right=right, client=client, tunnel=index, at=at, message=message)


def own_breaches(entry: ClientEntry | None, tunnels: Iterable[Tunnel]) -> Iterator[Breach]:
    """What these tunnels, which the client declares for itself, have and it may not."""
    if entry is None:
        return
    used: set[tuple[str, int]] = set()
    for index, tunnel in enumerate(tunnels):
        for right, at, message in breaches_of(entry, tunnel, used):
            yield Breach(right=right, client=entry.id, tunnel=index, at=at, message=message)


def breaches_of(
    entry: ClientEntry, tunnel: Tunnel, used: set[tuple[str, int]]
) -> Iterator[tuple[Right, int, str]]:
    """What one of these has: the right, the number of the address, and what to tell the client.

    :param used: the ports of those before it, to which its own are added if there is room for them.
    """
    if not may_offer(entry, tunnel.service):
        may = ", ".join(entry.services or ()) or "none"
        message = f"{entry.id} may not offer the service {quote(tunnel.service)}; it may offer: {may}"
        yield Right.SERVICES, 0, message
    yield from _own_breaches(entry, tunnel, used)


def _own_breaches(
    entry: ClientEntry, tunnel: Tunnel, used: set[tuple[str, int]]
) -> Iterator[tuple[Right, int, str]]:
    """:param used: the ports of the tunnels before this one, to which those of this one are added."""
    if not may_use_the_api(entry):
        message = f"{entry.id} may not declare tunnels; the gateway's file says declares: none"
        yield Right.DECLARES, 0, message
        return
    for at, address in enumerate(tunnel.listen):
        if not may_listen(entry, address):
            message = f"{entry.id} may not listen at {address}; it may at {spell_listen(entry)}"
            yield Right.LISTEN, at, message
    limit = most_ports(entry)
    ports = used | set(map(port_of, tunnel.listen))
    if limit is not None and len(ports) > limit:
        counted = "1 port" if limit == 1 else f"{limit} ports"
        yield Right.MAX_PORTS, 0, f"{entry.id} may declare at most {counted}, and this would be {len(ports)}"
    else:
        used |= ports


def port_of(address: ListenAddress) -> tuple[str, int]:
    """What is counted as one port: ``:443`` is one, although it is two addresses."""
    return ("" if address.is_wildcard else address.host), address.port


@lru_cache(_KEPT)
def _pattern(globs: tuple[str, ...]) -> re.Pattern[str]:
    """What any of the globs matches. As one, for a client may offer a thousand names again and again."""
    whole = "|".join(f"(?:{compile_glob(glob).pattern})" for glob in globs)
    return re.compile(whole if globs else "(?!)", re.DOTALL)
