"""Which agent a command means.

Rule: a socket that is named is taken at its word, and otherwise a state file says where
its agent answers: the one that is named, or the only one of the current directory.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from agent.offline import Whereabouts, find_agent, find_state
from agent.past.paths import default_history_path, default_socket_path


def found_agent(state: Path | None, socket: Path | None) -> Whereabouts:
    """Where the agent answers, and the command that starts it.

    :raises TidegateError: if neither is named and no state file is here, or it cannot be read at all.
    """
    if socket is not None:
        return Whereabouts(socket=socket, start="tidegate gateway STATE")
    found = found_state(state, socket)
    assert found is not None
    return find_agent(found)


def found_state(state: Path | None, socket: Path | None) -> Path | None:
    """The state file of that agent; None if only its socket is named.

    :raises TidegateError: if neither is named and no state file is here.
    """
    return find_state(Path()) if state is None and socket is None else state


def agent_of(state: Path, socket: Path | None) -> Whereabouts:
    """The same of one state, which may have been removed under its agent, or not be there yet.

    :raises TidegateError: if it is there and cannot be read at all.
    """
    if socket is not None or state.exists() or state.is_symlink():
        return found_agent(state, socket)
    return Whereabouts(
        socket=default_socket_path(state),
        start=f"tidegate gateway {shlex.quote(str(state))}",
        history=default_history_path(state),
    )
