"""A state file as commands read it, without asking an agent.

Rule: the same bytes are good or bad here and in a running agent, because both ask
``schemas.parse``. What was declared through a gateway's API is read with the file,
since a clash between the two is a problem of both.

Everything here blocks on the disk.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reconcile.reading import StateText, UnreadableError, read_documents, take_snapshot, with_owned
from schemas.errors import Problem, StateError, TidegateError
from schemas.parse import parse_state
from schemas.roles import Role
from schemas.state import ClientState, GatewayState, State
from schemas.text import Document, Syntax, read_document

from .past.paths import (
    admin_socket_path,
    declared_path,
    default_history_path,
    default_socket_path,
    history_path,
)

STDIN: Final = "<stdin>"
_NAMES: Final = tuple(
    f"{role.value}{suffix}" for role in Role for suffix in (".yaml", ".yml", ".toml", ".json")
)


class NotFoundError(TidegateError):
    """There is no state file to be found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineState:
    """What a state file says. ``state`` is None exactly if there are problems."""

    documents: tuple[Document, ...]  # those that could be read
    state: State | None
    problems: tuple[Problem, ...]


def read_offline(path: Path) -> OfflineState:
    """The state at ``path``, a file or a directory, with what was declared through the API.

    :raises TidegateError: if it cannot be read at all.
    """
    return understand(read_texts(path), place=path)


def understand(texts: Sequence[StateText], *, place: Path) -> OfflineState:
    """What the state at ``place`` would say if these were its files, with what was declared through the API.

    :raises TidegateError: if that cannot be read at all.
    """
    written = _understand(texts)
    if not isinstance(written.state, GatewayState):
        return written
    owned = declared_path(place, written.state.gateway)
    if not owned.exists():
        return written
    try:
        return _understand(with_owned(texts, owned=owned).texts)
    except UnreadableError as error:
        raise _unreadable(owned, error) from error


def read_texts(path: Path) -> tuple[StateText, ...]:
    """The file at ``path``, or the fragments in it.

    :raises TidegateError: if there is nothing to read.
    """
    try:
        return take_snapshot(path).texts
    except UnreadableError as error:
        raise _unreadable(path, error) from error


def read_stdin(data: bytes, syntax: Syntax) -> OfflineState:
    """The state in ``data``; its relative paths start at the current directory."""
    try:
        document = read_document(data, name=STDIN, directory=str(Path.cwd()), syntax=syntax)
    except StateError as error:
        return OfflineState(documents=(), state=None, problems=error.problems)
    return _parse((document,), ())


def find_state(directory: Path) -> Path:
    """The one state file in a directory that has the name of a role: ``gateway.yaml``, ``client.toml``.

    :raises NotFoundError: if there is none, or more than one.
    """
    found = [directory / name for name in _NAMES if (directory / name).is_file()]
    match found:
        case [path]:
            return path
        case []:
            raise NotFoundError(
                "there is no gateway.yaml or client.yaml in this directory: "
                "name the state file of the agent, or its socket with --socket"
            )
        case _:
            names = " and ".join(path.name for path in found)
            raise NotFoundError(f"{names} are in this directory: name the one whose agent is meant")


def is_fragment(written: OfflineState, place: Path) -> bool:
    """Whether what would be at ``place`` is a file that says nothing of an agent, as fragments do."""
    has_section = any(role.value in document.value for document in written.documents for role in Role)
    return bool(written.documents) and not has_section and not place.is_dir()


def refused(problems: Iterable[Problem], written: OfflineState, place: Path) -> StateError:
    """An error that says what to do about the problems of what would be at ``place``."""
    if not is_fragment(written, place):
        return StateError(problems)
    directory = shlex.quote(str(place.parent))
    advice = f"mend it, or if it is a fragment, name the directory that is the state: --state {directory}"
    return StateError(problems, advice=advice)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Where the agent of a state file answers and keeps its history, and the command that starts it."""

    socket: Path
    start: str
    role: Role | None = None  # unknown if no file says so
    history: Path | None = None  # unknown if only the socket is known


def find_agent(path: Path) -> Whereabouts:
    """The agent that was started with this state file.

    An agent outlives any mistake in its file, so a file with problems is searched
    for nothing but its ``socket`` and ``data``.

    :raises TidegateError: if the file cannot be read at all.
    """
    return agent_in(path, _understand(read_texts(path)))


def agent_in(path: Path, written: OfflineState) -> Whereabouts:
    """The same, of what was read there."""
    role: Role | None
    match written.state:
        case GatewayState(gateway=settings):
            socket, role = admin_socket_path(path, settings), Role.GATEWAY
            history = history_path(path, settings)
        case ClientState(client=client):
            socket, role = admin_socket_path(path, client), Role.CLIENT
            history = history_path(path, client)
        case None:
            sections = list(_sections(written.documents))
            socket = next(_mentioned(sections, "socket"), default_socket_path(path))
            history = default_history_path(path)
            for data in _mentioned(sections, "data"):
                history = data / history.name
            role = sections[0].role if sections else None
    return Whereabouts(socket=socket, start=starting(path, role), role=role, history=history)


def starting(path: Path, role: Role | None = None) -> str:
    """The command that starts the agent of a state file, of the likely role by its name if none is given."""
    likely = role or next((one for one in Role if one.value == path.stem), Role.GATEWAY)
    return f"tidegate {likely.value} {shlex.quote(str(path))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    """What makes a file that of a role, whatever is in it."""

    role: Role
    directory: Path
    value: Mapping[object, object]


def _sections(documents: Iterable[Document]) -> Iterator[_Section]:
    for document in documents:
        for role in Role:
            section = document.value.get(role.value)
            if isinstance(section, dict):
                yield _Section(role=role, directory=Path(document.directory), value=section)


def _mentioned(sections: Iterable[_Section], key: str) -> Iterator[Path]:
    """The paths that sections have at that key."""
    for section in sections:
        path = section.value.get(key)
        if isinstance(path, str) and path and path.isprintable():
            yield section.directory / path


def _unreadable(path: Path, error: UnreadableError) -> TidegateError:
    place = error.problem.place
    # There is no line to point at.
    return TidegateError(f"{path if place is None else place.file}: {error.problem.message}")


def _understand(texts: Iterable[StateText]) -> OfflineState:
    return _parse(*read_documents(texts))


def _parse(documents: tuple[Document, ...], problems: tuple[Problem, ...]) -> OfflineState:
    if problems:  # what the other files say may make no sense without this one
        return OfflineState(documents=documents, state=None, problems=problems)
    try:
        return OfflineState(documents=documents, state=parse_state(documents), problems=())
    except StateError as error:
        return OfflineState(documents=documents, state=None, problems=error.problems)
