"""What the API needs of the role that it speaks for.

Rule: the app reaches an agent through this and nothing else, so that it runs
against any role and any test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from schemas.names import ClientId
from schemas.reload_report import ReloadReport
from schemas.state import State
from schemas.status import AgentStatus

if TYPE_CHECKING:  # for an agent that is not asked need not load them
    from agent.events import Events
    from agent.gateway.explain import Facts
    from agent.past.memory import Memory
    from agent.planning import ProposedFile
    from schemas.plan_report import PlanReport

    from .declared import DeclaredTunnels


class Backend(Protocol):
    """A gateway or a client that runs."""

    def status(self) -> AgentStatus:
        """What it has to say about itself, now. Does not block."""
        ...

    async def catch_up(self) -> None:
        """Make :meth:`status` quick. For thousands of tunnels it takes a moment, in which others come in."""
        ...

    async def reload_and_report(self) -> ReloadReport:
        """Look at the state file and the keys now; how things stand when what it says has been applied.

        :raises ReconcilerStoppedError: if the agent stops first.
        """
        ...

    def facts(self) -> Facts | None:
        """What an explanation is made of, now; None on a client, to which nobody comes."""
        ...

    def accepted(self) -> tuple[State | None, str]:
        """The state that counts, None if there is none yet, and its digest."""
        ...

    def client_states(self) -> Mapping[ClientId, tuple[str, str]]:
        """The current and the last state of every known client, in threshold's words; none on a client."""
        ...

    async def plan(self, files: Sequence[ProposedFile]) -> PlanReport:
        """What these files would change if they were its state.

        :raises StateError: if they would be refused.
        """
        ...

    @property
    def memory(self) -> Memory:
        """The states it has accepted, and a change that must be confirmed."""
        ...

    @property
    def events(self) -> Events:
        """What happens in it."""
        ...

    @property
    def declared(self) -> DeclaredTunnels | None:
        """The owner of what is declared through the API; None on a client, which has no tunnels."""
        ...
