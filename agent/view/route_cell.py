"""Where a tunnel leads, in one cell of a table: its clients, and the service.

Rule: of several clients, ``a,b`` says that a gets the visitors and b stands behind it,
``a+b`` that both share them in the order of the state file, and ``a+(b)`` that b is one of
those who would and gets none now. The way in which they are joined is the tunnel's own,
and does not change when somebody comes or goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from rich.cells import cell_len

from schemas.status import Standing, TunnelStatus

from .cells import elide, fold, printable
from .table import Cell

_PREFERENCE: Final = "preference"


def route_cell(tunnel: TunnelStatus) -> Cell:
    """The clients and the service."""
    names = [_shared(tunnel)] if tunnel.clients and tunnel.balance != _PREFERENCE else _preferred(tunnel)
    service = printable(tunnel.service)
    return Cell(
        text=f"{', '.join(names)} → {service}",
        fit=partial(_fitted, names, service),
        plain=f"{','.join(names)} -> {service}",
    )


def doubt(tunnel: TunnelStatus) -> str:
    """What there is to say of a tunnel that is ready although some of its clients do not serve; or ""."""
    names = [printable(one.id) for one in tunnel.clients if one.standing is Standing.DOUBTED]
    if not names:
        return ""
    verb, has = ("is", "has") if len(names) == 1 else ("are", "have")
    return (
        f"{' and '.join(names)} {verb} connected but {has} not served a visitor lately: "
        "the others are asked first for a while."
    )


def _preferred(tunnel: TunnelStatus) -> list[str]:
    """The one that serves, and behind it the others."""
    serving = [client for client in tunnel.client if client == tunnel.serving_client]
    others = [client for client in tunnel.client if client not in serving]
    return [printable(client) for client in (*serving, *others)]


def _shared(tunnel: TunnelStatus) -> str:
    is_served = any(one.standing is Standing.SERVES for one in tunnel.clients)
    return "+".join(
        f"({printable(one.id)})" if is_served and one.standing is not Standing.SERVES else printable(one.id)
        for one in tunnel.clients
    )


def _fitted(names: Sequence[str], service: str, width: int) -> str:
    for arrow in (" → ", "→"):
        whole = f"{', '.join(names)}{arrow}{service}"
        if cell_len(whole) <= width:
            return whole
    room = width - 3
    if room < 2:
        return elide("→".join((*names[:1], service)), width)
    # Whichever of the two is short leaves its room to the other.
    left = fold(names, max(room - cell_len(service), room // 2))
    return f"{left} → {elide(service, room - cell_len(left))}"
