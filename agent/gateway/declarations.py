"""Who hears of the tunnels that clients declare on their sessions.

Rule: the seam between the sessions and what becomes of declarations, which is decided
in ``client_declarations``. The sessions tell who is there; nothing is decided here.
"""

from __future__ import annotations

from typing import Protocol

from schemas.messages import Declare
from schemas.names import ClientId

from .connected_client import ConnectedClient


class Declarations(Protocol):
    """Told of what the clients' own files declare."""

    def welcomed(self, client: ConnectedClient) -> None:
        """A session of the client has begun. It may have others."""

    def declare(self, client: ConnectedClient, message: Declare) -> None:
        """The client has declared these tunnels, in place of all that it declared before."""

    def gone(self, client_id: ClientId) -> None:
        """The last session of the client has ended."""


class NoDeclarations:
    """What a gateway has to whom nobody declares anything."""

    def welcomed(self, client: ConnectedClient) -> None:
        """Nothing is known of it."""

    def declare(self, client: ConnectedClient, message: Declare) -> None:
        """Nothing comes of it."""

    def gone(self, client_id: ClientId) -> None:
        """Nothing goes with it."""
