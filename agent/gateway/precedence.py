"""Which client was first.

Rule: pure. Whoever has a port keeps it, whatever others ask for and whoever is allowed
what; of those that have none, whoever has asked for longest comes first. Who asks for
another address stands in line for it like everybody else.
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas.names import TunnelName
from schemas.state import Tunnel

from .own_tunnels import Claim


class Precedence:
    """The claims that there are, in their order."""

    def __init__(self) -> None:
        self._arrived: dict[TunnelName, tuple[int, Tunnel]] = {}
        self._held: set[TunnelName] = set()
        self._last = 0

    def arrive(self, claim: Claim) -> None:
        """It is asked for, now or still. One that asks for no other address than before keeps its place."""
        name, tunnel = claim.tunnel.name, claim.tunnel
        known = self._arrived.get(name)
        if known is not None and set(tunnel.listen) <= set(known[1].listen):
            self._arrived[name] = (known[0], tunnel)
            return
        self._last += 1
        self._held.discard(name)
        self._arrived[name] = (self._last, tunnel)

    def leave(self, claim: Claim) -> None:
        """It is not asked for any more."""
        self._arrived.pop(claim.tunnel.name, None)
        self._held.discard(claim.tunnel.name)

    def hold(self, names: Iterable[TunnelName]) -> None:
        """These have what they asked for, and no others do."""
        self._held = {name for name in names if name in self._arrived}

    def sort(self, claims: Iterable[Claim]) -> list[Claim]:
        """In the order of precedence."""
        return sorted(claims, key=self._rank)

    def _rank(self, claim: Claim) -> tuple[bool, int]:
        name = claim.tunnel.name
        return name not in self._held, self._arrived[name][0]
