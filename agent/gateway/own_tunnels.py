"""What a client's own file declares, as tunnels of the gateway.

Rule: pure, and a declaration is never trusted: what its texts mean is found out here as
it is for the gateway's own file, and each tunnel stands for itself. One that cannot be
understood costs the others nothing.

Decision: each tunnel for itself, and not all or none as through the API. Nobody waits for
one answer here; a file goes on asking, and a port that another client happens to hold
would otherwise take from a machine the tunnels that have nothing to do with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from agent.api.naming import own_name
from schemas.messages import DeclaredTunnel
from schemas.names import ClientId, TunnelName
from schemas.state import OwnTunnel, Tunnel
from schemas.validating import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A tunnel that a client asks for. ``own`` is what the client calls it."""

    client: ClientId
    own: str
    tunnel: Tunnel


@dataclass(frozen=True, slots=True, kw_only=True)
class NotUnderstood:
    """An entry of a declaration that is no tunnel, and why."""

    own: str
    problem: str


def read_declared(client: ClientId, entries: Sequence[DeclaredTunnel]) -> tuple[Claim | NotUnderstood, ...]:
    """What each entry asks for, in their order."""
    seen: set[str] = set()
    read: list[Claim | NotUnderstood] = []
    for entry in entries:
        if entry.name in seen:
            problem = "another tunnel has this name already; rename one of them"
            read.append(NotUnderstood(own=entry.name, problem=problem))
            continue
        seen.add(entry.name)
        read.append(_read(client, entry))
    return tuple(read)


def _read(client: ClientId, entry: DeclaredTunnel) -> Claim | NotUnderstood:
    value: dict[str, object] = {
        "name": entry.name,
        "listen": list(entry.listen),
        "service": entry.service,
        "proxy_protocol": entry.proxy_protocol,
    }
    if entry.hostname:
        value["hostname"] = list(entry.hostname)
    try:
        own = OwnTunnel.model_validate(value, context=Reading(directory=""))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        return NotUnderstood(own=entry.name, problem="; ".join(one["msg"] for one in found))
    tunnel = Tunnel(
        name=own.name,
        listen=own.listen,
        hostname=own.hostname,
        client=(client,),
        service=own.service,
        proxy_protocol=own.proxy_protocol,
        declared_by=client,
    )
    named = tunnel.model_copy(update={"name": own_name(client, own.name)})
    return Claim(client=client, own=entry.name, tunnel=named)


def names_of(claims: Sequence[Claim]) -> frozenset[TunnelName]:
    """What the tunnels are called at the gateway."""
    return frozenset(claim.tunnel.name for claim in claims)
