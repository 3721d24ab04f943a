"""What the generation that counts has changed, for whoever has not seen the files from before.

Rule: it is what the agent has kept of the two that is compared, whoever changed the files and however.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agent.api.client import RefusedError, fetch_generation, fetch_history
from agent.offline import Whereabouts, understand
from reconcile.reading import StateText
from schemas.state import State

_PLACE = Path("/")  # relative paths of both start at the same directory, whichever it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What files said until now, and what they say; None if they were not valid, or nobody knows."""

    before: State | None
    after: State | None


async def latest_change(agent: Whereabouts) -> Comparison:
    """What has become of the generation before the one that counts. The first one has changed nothing.

    :raises AgentUnreachableError: if the agent cannot be asked.
    """
    kept = (await fetch_history(agent.socket, start=agent.start)).generations
    current = next((one.generation for one in kept if one.accepted), 0)
    older = next((one.generation for one in kept if one.generation < current), current)
    after = await _state(agent, current)
    return Comparison(before=after if older == current else await _state(agent, older), after=after)


async def _state(agent: Whereabouts, generation: int) -> State | None:
    try:
        kept = await fetch_generation(agent.socket, generation, start=agent.start)
    except RefusedError:
        return None
    texts = [
        StateText(name=file.name, directory=str(_PLACE), data=file.text.encode())
        for file in kept.files
        if not file.owned
    ]
    return understand(texts, place=_PLACE).state
