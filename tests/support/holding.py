"""What a process may come to hold while something is done to it.

Rule: the peak of resident memory is compared with what was resident before, in bytes that the test states.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.proc import forget_peak, peak, resident

from .site import Agent


@contextmanager
def grows_by_less_than(size: int, *agents: Agent) -> Iterator[None]:
    """None of these processes may at any moment hold that many bytes more than at the beginning."""
    for agent in agents:
        forget_peak(agent.process.pid)
    before = [resident(agent.process.pid) for agent in agents]
    yield
    grown = {agent.role: peak(agent.process.pid) - start for agent, start in zip(agents, before, strict=True)}
    assert all(growth < size for growth in grown.values()), grown


def assert_nothing_broke(*agents: Agent) -> None:
    """They still run, and none has logged a defect: its own, a library's, or what is no line of ours."""
    for agent in agents:
        assert agent.process.poll() is None, agent.log
        broken = [
            entry
            for entry in agent.lines
            if "exception" in entry
            or entry["event"] in ("not JSON", "library_logged")
            or entry.get("level") in ("error", "critical")
        ]
        assert broken == []
