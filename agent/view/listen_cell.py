"""The addresses of a tunnel in one cell of a table.

Rule: where there is no room for all of it, what is left out is of the host. The port is what people look for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from rich.cells import cell_len

from .cells import elide, elide_end, printable
from .table import Cell


def listen_cell(listen: Sequence[str]) -> Cell:
    """Where a tunnel listens."""
    safe = [printable(address) for address in _merged(listen)]
    return Cell(text=", ".join(safe), fit=partial(_fitted, safe), plain=",".join(safe))


def _fitted(addresses: Sequence[str], width: int) -> str:
    """As ``fold`` does it, but what is left out is of the host: the port is what people look for."""
    text = ", ".join(addresses)
    if cell_len(text) <= width:
        return text
    more = f" +{len(addresses) - 1}" if len(addresses) > 1 else ""
    host, _, port = addresses[0].rpartition(":")
    end = f":{port}{more}"
    return elide_end(host, width - len(end)) + end if len(end) < width else elide(text, width)


def _merged(listen: Sequence[str]) -> list[str]:
    """``0.0.0.0:443`` and ``[::]:443`` are one thing to a person: ``:443``, as state files spell it."""
    merged = [
        address.replace("0.0.0.0:", ":", 1) if _twin(address) in listen else address for address in listen
    ]
    return [address for address in merged if not (address.startswith("[::]:") and address[4:] in merged)]


def _twin(address: str) -> str | None:
    return "[::]" + address[7:] if address.startswith("0.0.0.0:") else None
