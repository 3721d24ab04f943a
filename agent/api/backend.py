"""What the API needs of the role that it speaks for.

Rule: the app reaches an agent through this and nothing else, so that it runs
against any role and any test.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from schemas.names import ClientId
from schemas.status import AgentStatus

if TYPE_CHECKING:  # a client, which has none, need not load them
    from .declared import DeclaredTunnels


class Backend(Protocol):
    """A gateway or a client that runs."""

    def status(self) -> AgentStatus:
        """What it has to say about itself, now. Does not block."""
        ...

    def client_states(self) -> Mapping[ClientId, tuple[str, str]]:
        """The current and the last state of every known client, in threshold's words; none on a client."""
        ...

    @property
    def declared(self) -> DeclaredTunnels | None:
        """The owner of what is declared through the API; None on a client, which has no tunnels."""
        ...
