"""Which agent a command means.

Rule: a socket that is named is taken at its word, and otherwise a state file says where
its agent answers: the one that is named, or the only one of the current directory. A directory
that is named is the state itself, and not where a state file is; who mixes that up is told.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from agent.offline import NotFoundError, Whereabouts, find_agent, find_state, starting
from agent.past.paths import default_history_path, default_socket_path
from schemas.errors import TidegateError


def found_agent(state: Path | None, socket: Path | None) -> Whereabouts:
    """Where the agent answers, and the command that starts it.

    :raises TidegateError: if neither is named and no state file is here, or it cannot be read at all; or if a
        directory is named without an agent of its own, and a file in it has one.
    """
    if socket is not None:
        return Whereabouts(socket=socket, start="tidegate gateway STATE")
    found = found_state(state, socket)
    assert found is not None
    if not _is_there(found) and default_socket_path(found).exists():  # an agent outlives its file
        return _usual(found)
    agent = find_agent(found)
    if found.is_dir() and not agent.socket.exists():
        _check_no_agent_in(found)
    return agent


def _check_no_agent_in(directory: Path) -> None:
    with suppress(NotFoundError):
        inside = find_state(directory)
        if find_agent(inside).socket.exists():
            raise TidegateError(f"{directory} is no agent's state, but {inside} is: name that file")


def found_state(state: Path | None, socket: Path | None) -> Path | None:
    """The state file of that agent; None if only its socket is named.

    :raises TidegateError: if neither is named and no state file is here.
    """
    return find_state(Path()) if state is None and socket is None else state


def agent_of(state: Path, socket: Path | None) -> Whereabouts:
    """The same of one state, which may have been removed under its agent, or not be there yet.

    :raises TidegateError: if it is there and cannot be read at all.
    """
    if socket is not None or _is_there(state):
        return found_agent(state, socket)
    return _usual(state)


def _is_there(state: Path) -> bool:
    return state.exists() or state.is_symlink()


def _usual(state: Path) -> Whereabouts:
    """Where it is if the file says nothing of that."""
    return Whereabouts(
        socket=default_socket_path(state),
        start=starting(state),
        history=default_history_path(state),
    )
