"""What a gateway remembers of clients that are not here: when they went, and why they may not come.

Rule: pure. What is remembered is bounded: of the clients that the gateway's file lists
all are remembered, of others those that were here, or at the door, last.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final, TypeVar

from schemas.names import ClientId

from .revocation import ShownCertificate

# Where a gateway lists no clients, every machine that is given a certificate under a name of its own, and is
# gone after an hour, would otherwise be kept and shown for ever. Those that went first are forgotten first.
_MOST_REMEMBERED: Final = 1_000

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """When a client's last session ended, and the certificate that it had."""

    at: datetime
    certificate: ShownCertificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """When a client was not taken on, or no longer, and why in words for the gateway's operator."""

    at: datetime
    reason: str
    address: str
    certificate: ShownCertificate


class Absentees:
    """Every client that has gone, and those that were refused since they were here last."""

    def __init__(self) -> None:
        # The last one at the end.
        self._departures: dict[ClientId, Departure] = {}
        self._refusals: dict[ClientId, Refused] = {}

    @property
    def departures(self) -> Mapping[ClientId, Departure]:
        """Also of clients that have come again."""
        return MappingProxyType(self._departures)

    @property
    def refusals(self) -> Mapping[ClientId, Refused]:
        """Only of clients that are not here."""
        return MappingProxyType(self._refusals)

    def came(self, client: ClientId) -> None:
        """It is here: why it was not no longer matters."""
        self._refusals.pop(client, None)

    def went(self, client: ClientId, departure: Departure, *, declared: Set[ClientId]) -> None:
        """Its last session has ended.

        :param declared: the clients that the gateway's file lists.
        """
        _remember(self._departures, client, departure, declared)

    def refused(self, client: ClientId, refusal: Refused, *, declared: Set[ClientId]) -> bool:
        """It stood at the door and was not let in; whether it is another reason than the last time."""
        before = self._refusals.get(client)
        _remember(self._refusals, client, refusal, declared)
        return before is None or before.reason != refusal.reason


def _remember(memory: dict[ClientId, _T], client: ClientId, what: _T, declared: Set[ClientId]) -> None:
    memory.pop(client, None)
    memory[client] = what
    while len(memory) > len(declared) + _MOST_REMEMBERED:
        del memory[next(known for known in memory if known not in declared)]
