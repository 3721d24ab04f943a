"""Parts on their way from whoever reads the files to whoever keeps the state.

Rule: what is unpacked equals what was packed, and a tunnel that is known already is
that very object. So a change of one line among ten thousand makes one new tunnel,
and whoever compares the states may begin by asking whether two are the same.

A tunnel travels as a line of JSON: the same tunnel always as the same bytes, which
are compared without being understood.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from itertools import islice
from typing import Final

from schemas.names import Balance, ClientId, ListenAddress, ProxyProtocol, ServiceName, TunnelName
from schemas.part import Part
from schemas.state import Tunnel

# Tunnels that are made without a pause, in about half a millisecond. The event loop, which may wait for the
# interpreter meanwhile, gets it in the pause.
_WITHOUT_PAUSE: Final = 64
_PAUSE: Final = 0.0002  # seconds

_ALWAYS: Final = ("name", "listen", "client", "service")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedPart:
    """A part that can be sent. Only the tunnels, of which there may be thousands, are more than pickled."""

    rest: Part
    rows: tuple[bytes, ...]


def pack(part: Part) -> PackedPart:
    return PackedPart(rest=replace(part, tunnels=()), rows=tuple(_row(tunnel) for tunnel in part.tunnels))


def unpack(packed: PackedPart, known: Mapping[bytes, Tunnel]) -> Part:
    """The part again. Takes long for thousands of unknown tunnels: call it in a worker thread.

    :param known: tunnels by their rows.
    """
    return replace(packed.rest, tunnels=_tunnels(packed.rows, known))


def _tunnels(rows: Sequence[bytes], known: Mapping[bytes, Tunnel]) -> tuple[Tunnel, ...]:
    found = [known.get(row) for row in rows]
    made = _made(row for row, tunnel in zip(rows, found, strict=True) if tunnel is None)
    return tuple(tunnel if tunnel is not None else next(made) for tunnel in found)


def _made(rows: Iterable[bytes]) -> Iterator[Tunnel]:
    addresses: dict[ListenAddress, ListenAddress] = {}
    pending = iter(rows)
    while batch := list(islice(pending, _WITHOUT_PAUSE)):
        yield from [_tunnel(row, addresses) for row in batch]
        time.sleep(_PAUSE)


def _row(tunnel: Tunnel) -> bytes:
    values: list[object] = [
        tunnel.name,
        [[address.host, address.port] for address in tunnel.listen],
        tunnel.client,
        tunnel.service,
        tunnel.hostname,
        # What a file does not say, and what it says although that is the default, are not quite the same.
        tunnel.proxy_protocol.value if "proxy_protocol" in tunnel.model_fields_set else None,
        tunnel.declared_by,
        tunnel.balance.value if "balance" in tunnel.model_fields_set else None,
        [str(network) for network in tunnel.accept_proxy_protocol],
    ]
    return json.dumps(values, separators=(",", ":")).encode()


def _tunnel(row: bytes, addresses: dict[ListenAddress, ListenAddress]) -> Tunnel:
    name, listen, client, service, hostname, proxy_protocol, declared_by, balance, balancers = json.loads(row)
    optional = {
        "hostname": tuple(hostname) or None,
        "proxy_protocol": None if proxy_protocol is None else ProxyProtocol(proxy_protocol),
        "declared_by": declared_by,
        "balance": None if balance is None else Balance(balance),
        "accept_proxy_protocol": tuple(ip_network(network) for network in balancers) or None,
    }
    said = {key: value for key, value in optional.items() if value is not None}
    found = (ListenAddress(sys.intern(host), port) for host, port in listen)
    # Everything in it has been validated where it was packed.
    return Tunnel.model_construct(
        _fields_set={*_ALWAYS, *said},
        name=TunnelName(name),
        listen=tuple(addresses.setdefault(address, address) for address in found),
        client=tuple(ClientId(sys.intern(one)) for one in client),
        service=ServiceName(sys.intern(service)),
        **said,
    )
