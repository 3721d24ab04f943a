"""What two states differ in, in one line.

Rule: counts, and no names: who wants to know more compares the files. Pure.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Final

from schemas.state import ClientState, GatewayState, State

FIRST: Final = "the first"
NOTHING: Final = "nothing that counts"


def difference(before: State | None, after: State) -> str:
    """For example ``+2 -1 ~3 tunnels, +1 client, settings``."""
    match before, after:
        case GatewayState(), GatewayState():
            parts = _of_gateways(before, after)
        case ClientState(), ClientState():
            parts = _of_clients(before, after)
        case None, _:
            return FIRST
        case _:
            parts = ["the role"]
    return ", ".join(part for part in parts if part) or NOTHING


def _of_gateways(before: GatewayState, after: GatewayState) -> list[str]:
    return [
        _compared(
            {tunnel.name: tunnel for tunnel in before.tunnels},
            {tunnel.name: tunnel for tunnel in after.tunnels},
            "tunnel",
        ),
        _compared_clients(before, after),
        _compared(_each(before.revoked), _each(after.revoked), "revoked certificate"),
        "egress" if before.egress != after.egress else "",
        _settings((before.gateway, before.allow_empty), (after.gateway, after.allow_empty)),
    ]


def _compared_clients(before: GatewayState, after: GatewayState) -> str:
    if before.clients is None or after.clients is None:
        return "clients" if before.clients != after.clients else ""
    return _compared(
        {client.id: client for client in before.clients},
        {client.id: client for client in after.clients},
        "client",
    )


def _of_clients(before: ClientState, after: ClientState) -> list[str]:
    return [
        _compared(dict(before.services), dict(after.services), "service"),
        _compared(
            {tunnel.name: tunnel for tunnel in before.tunnels},
            {tunnel.name: tunnel for tunnel in after.tunnels},
            "tunnel",
        ),
        "socks5" if before.socks5 != after.socks5 else "",
        _settings((before.client, before.allow_empty), (after.client, after.allow_empty)),
    ]


def _settings(before: object, after: object) -> str:
    return "settings" if before != after else ""


def _each(values: Iterable[Hashable]) -> Mapping[Hashable, Hashable]:
    """Each by itself, which can come and go and is never another."""
    return {value: value for value in values}


def _compared(before: Mapping[Any, Hashable], after: Mapping[Any, Hashable], noun: str) -> str:
    return _counted(
        added=len(after.keys() - before.keys()),
        removed=len(before.keys() - after.keys()),
        changed=sum(
            before[name] is not after[name] and before[name] != after[name]
            for name in before.keys() & after.keys()
        ),
        noun=noun,
    )


def _counted(*, added: int, removed: int, changed: int, noun: str) -> str:
    counts = [f"{sign}{count}" for sign, count in (("+", added), ("-", removed), ("~", changed)) if count]
    if not counts:
        return ""
    ending = "" if added + removed + changed == 1 else "s"
    return f"{' '.join(counts)} {noun}{ending}"
