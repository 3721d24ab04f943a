"""The tunnels that a client's own file declares, as a part of its status.

Rule: as in ``status_parts``. Where a screen has no room for the table, the headline tells how many are not in
force.
"""

from __future__ import annotations

from functools import partial

from schemas.status import AgentStatus, ClientAgentStatus, OwnTunnelStatus

from .cells import counted, printable
from .listen_cell import listen_cell
from .sections import Entry, Section
from .table import Cell, Column, Worth


def own_tunnels(status: AgentStatus) -> tuple[Section, ...]:
    """The table, if there is anything to put into it."""
    if not isinstance(status, ClientAgentStatus) or not status.tunnels:
        return ()
    section = Section(
        columns=(
            Column(title="OWN TUNNEL", worth=Worth.ESSENTIAL),
            Column(title="GATEWAY", least=12),
            Column(title="LISTEN", good=15, least=9),
            Column(title="SERVICE", least=8),
            Column(title="STATE", worth=Worth.ESSENTIAL, least=12),
        ),
        entries=tuple(map(_entry, status.tunnels)),
        fine="in force",
        empty="",
    )
    return (section,)


def tunnels_in_force(status: AgentStatus) -> str:
    """How many of a client's tunnels are in force, unless all are."""
    if not isinstance(status, ClientAgentStatus):
        return ""
    good = sum(tunnel.in_force for tunnel in status.tunnels)
    if good == len(status.tunnels):
        return ""
    return f"{good} of {counted(len(status.tunnels), 'own tunnel')} in force"


def _entry(tunnel: OwnTunnelStatus) -> Entry:
    return Entry(
        name=printable(tunnel.name),
        cells=partial(_cells, tunnel),
        is_fine=tunnel.in_force,
        trouble="" if tunnel.in_force else printable(tunnel.message),
    )


def _cells(tunnel: OwnTunnelStatus) -> tuple[Cell, ...]:
    return (
        Cell(text=printable(tunnel.name)),
        Cell(text=printable(tunnel.gateway)),
        listen_cell(tunnel.listen),
        Cell(text=printable(tunnel.service)),
        Cell(text="in force", style="green") if tunnel.in_force else Cell(text="not in force", style="red"),
    )
