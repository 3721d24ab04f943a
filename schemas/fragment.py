"""The fragment that Tidegate owns: the tunnels declared through its API, as a file.

Rule: this file alone decides what Tidegate writes. It is read back like any other
document, and then gives the same tunnels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import tomli_w

from .names import Balance, ProxyProtocol
from .networks import spell_network
from .state import Tunnel

_HEADER: Final = """\
# Written by Tidegate: these tunnels were declared through its API.
# Do not edit: the next call of PUT /tunnels replaces this file.
# To declare tunnels by hand, write them into the state file.

"""


def render_fragment(tunnels: Sequence[Tunnel]) -> str:
    """The tunnels as TOML. The same tunnels always give the same text."""
    # An empty array of tables cannot be written as headers, and saying so is clearer than silence.
    return _HEADER + tomli_w.dumps({"tidegate": 1, "tunnels": [_entry(tunnel) for tunnel in tunnels]})


def _entry(tunnel: Tunnel) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": tunnel.name,
        "listen": [str(address) for address in tunnel.listen],
        "client": list(tunnel.client),
        "service": tunnel.service,
    }
    if tunnel.hostname:
        entry["hostname"] = list(tunnel.hostname)
    if tunnel.proxy_protocol is not ProxyProtocol.OFF:
        entry["proxy_protocol"] = tunnel.proxy_protocol.value
    if tunnel.balance is not Balance.PREFERENCE:
        entry["balance"] = tunnel.balance.value
    if tunnel.accept_proxy_protocol:
        entry["accept_proxy_protocol"] = [spell_network(network) for network in tunnel.accept_proxy_protocol]
    if tunnel.declared_by is not None:
        entry["declared_by"] = tunnel.declared_by
    return entry
