"""What a request would make of the tunnels declared through the API.

Rule: this file decides whether a declaration may be tried, and writes nothing. It
holds the rules against the whole state as it would be: the state files as they are
on disk now, what others declared, and the request. What others declared and the
files leave no room for is nobody else's fault, and refuses nothing.

Whose is what: a caller's declaration replaces what the same caller declared before,
an admin's replaces all that anybody declared. A tunnel that an admin sends back
just as it was stays the tunnel of whoever declared it, so that an admin's program
and a client's do not take tunnels from each other.

Everything here blocks on the disk: call it in a worker thread.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from reconcile.reading import Snapshot, StateText, UnreadableError, read_documents, take_snapshot
from schemas.errors import Place, Problem, StateError
from schemas.fragment import render_fragment
from schemas.names import TunnelName
from schemas.parse import parse_gateway
from schemas.quoting import quote
from schemas.state import Tunnel
from schemas.text import Document, Syntax, read_document
from schemas.validating import Reading

from .conditional import ANY_DIGEST, Digests, stale
from .identity import Caller
from .naming import keep_apart
from .own_rights import check_own_rights
from .problems import BODY, ApiError, RequestProblem, spell
from .problems import Path as BodyPath

_BROKEN_FILE: Final = "the gateway's state file has a problem that must be mended first"
_BROKEN_FRAGMENT: Final = (
    "what was declared through the API so far cannot be read; mend the file, "
    "or let an admin declare everything anew"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A change that obeys every rule. ``before`` and ``after`` are the fragment, None where there is none."""

    before: bytes | None
    after: bytes | None
    is_change: bool
    asked: tuple[Tunnel, ...]  # the caller's, in the order of the request
    paths: tuple[BodyPath, ...]  # where in the body each of them stands


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What a proposal is held against: the operator's files, and what was declared before.

    ``kept`` is what others declared, ``replaced`` what the caller is about to declare anew.
    """

    fragment: Path
    before: StateText | None
    documents: Sequence[Document]
    kept: Sequence[Tunnel]
    replaced: Sequence[Tunnel]
    is_understood: bool  # whether the fragment could be read


def propose(
    state_path: Path,
    fragment: Path,
    caller: Caller,
    tunnels: Sequence[Tunnel],
    *,
    expected: Digests = ANY_DIGEST,
) -> Proposal:
    """What to write so that these tunnels are all that the caller declares.

    :param expected: the files must have one of these digests.
    :raises ApiError: 403 if the caller may not, 400 if the tunnels are not valid, 409 if
        they clash with others, or if the files are such that nothing can be said, 412 if
        the files are other ones than expected.
    """
    paths: list[BodyPath] = [(index,) for index in range(len(tunnels))]
    check_rights(caller, tunnels, [(*path, "ClientId") for path in paths])
    basis = read_basis(state_path, fragment, caller, expected)
    taken = {*_names_in(basis.documents), *(tunnel.name for tunnel in basis.kept)}
    named = keep_apart(tunnels, previous=basis.replaced, taken=taken)
    asked = tuple(signed(named, caller, basis.replaced))
    return conclude(basis, caller, asked, paths)


def read_basis(state_path: Path, fragment: Path, caller: Caller, expected: Digests) -> Basis:
    """What there is now.

    :raises ApiError: 409 if nothing can be said of it, 412 if it is not what the caller knows.
    """
    snapshot = _read(state_path, fragment)
    documents = _read_documents([text for text in snapshot.texts if not text.owned])
    if expected is not None and snapshot.digest not in expected:
        alone = _problems_of(documents)
        if alone:  # which is why what is on the disk is not what counts
            raise _conflict(_BROKEN_FILE, alone)
        raise stale()
    before = next((text for text in snapshot.texts if text.owned), None)
    so_far = _so_far(before, caller)
    return Basis(
        fragment=fragment,
        before=before,
        documents=documents,
        kept=so_far.kept,
        replaced=so_far.replaced,
        is_understood=so_far.is_understood,
    )


def signed(tunnels: Iterable[Tunnel], caller: Caller, replaced: Iterable[Tunnel]) -> Iterator[Tunnel]:
    """The tunnels with whoever declared them: the caller, unless one is as it was before."""
    before = {tunnel.name: tunnel for tunnel in replaced}
    for tunnel in tunnels:
        same = before.get(tunnel.name)
        as_before = None if same is None else tunnel.model_copy(update={"declared_by": same.declared_by})
        if as_before is not None and as_before == same:
            yield as_before
        else:
            yield tunnel.model_copy(update={"declared_by": caller.name})


def conclude(basis: Basis, caller: Caller, asked: Sequence[Tunnel], paths: Sequence[BodyPath]) -> Proposal:
    """The proposal that these become all that the caller declares, if the rules allow it.

    :param paths: where in the body each of them stands.
    :raises ApiError: 400 or 409 if they do not, 403 if a port is somebody else's.
    """
    _check_rules(caller, basis, asked, paths)
    declared = (*basis.kept, *asked)
    return Proposal(
        before=None if basis.before is None else basis.before.data,
        after=render_fragment(declared).encode() if declared else None,
        is_change=not basis.is_understood or set(asked) != set(basis.replaced),
        asked=tuple(asked),
        paths=tuple(paths),
    )


def check_rights(caller: Caller, tunnels: Sequence[Tunnel], paths: Sequence[BodyPath]) -> None:
    """See that the caller may declare these.

    :param paths: where in the body the client of each of them stands.
    :raises ApiError: 403 if it may not.
    """
    if caller.is_admin:
        return
    problems = [
        RequestProblem(
            path=path, message=f"{caller.name} may not declare a tunnel of {', '.join(tunnel.client)}"
        )
        for tunnel, path in zip(tunnels, paths, strict=True)
        if tunnel.client != (caller.client,)
    ]
    if problems:
        message = (
            f"{caller.name} may declare tunnels only for itself; ask an admin of the gateway for the others"
        )
        raise ApiError(HTTPStatus.FORBIDDEN, message, problems)
    problems = [
        # Threshold's words have no such thing, and so this is an entry of our own.
        RequestProblem(
            path=(*path[:-1], "accept_proxy_protocol"),
            message="whoever is named here can say of visitors that they come from anywhere",
        )
        for tunnel, path in zip(tunnels, paths, strict=True)
        if tunnel.accept_proxy_protocol
    ]
    if problems:
        message = f"{caller.name} may not say what stands in front of the gateway; ask an admin of it"
        raise ApiError(HTTPStatus.FORBIDDEN, message, problems)


def _read(state_path: Path, fragment: Path) -> Snapshot:
    try:
        return take_snapshot(state_path, owned=fragment)
    except UnreadableError as error:
        raise _conflict(_BROKEN_FILE, [error.problem]) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _SoFar:
    """What was declared before: what others declared and stays, and what this request replaces."""

    kept: Sequence[Tunnel] = ()
    replaced: Sequence[Tunnel] = ()
    is_understood: bool = True


def _so_far(before: StateText | None, caller: Caller) -> _SoFar:
    if before is None:
        return _SoFar()
    try:
        declared = _declared_in(before)
    except StateError as error:
        if caller.is_admin:
            return _SoFar(is_understood=False)  # nothing of it stays
        raise _conflict(_BROKEN_FRAGMENT, error.problems) from error
    if caller.is_admin:
        return _SoFar(replaced=declared)
    return _SoFar(
        kept=[tunnel for tunnel in declared if tunnel.declared_by != caller.name],
        replaced=[tunnel for tunnel in declared if tunnel.declared_by == caller.name],
    )


def _declared_in(text: StateText) -> Sequence[Tunnel]:
    """The tunnels of the fragment by itself, whether or not they clash with anything.

    :raises StateError: if it is not one that Tidegate wrote.
    """
    document = read_document(
        text.data, name=text.name, directory=text.directory, syntax=Syntax.TOML, owned=True
    )
    entries = document.value.get("tunnels", [])
    try:
        if isinstance(entries, list):
            context = Reading(directory=text.directory)
            return [Tunnel.model_validate(entry, context=context) for entry in entries]
    except ValidationError:
        pass
    where = document.locate(("tunnels",))
    raise StateError([Problem(where, "these are not tunnels as Tidegate writes them; restore the file")])


def _read_documents(files: Sequence[StateText]) -> Sequence[Document]:
    documents, problems = read_documents(files)
    if problems:
        raise _conflict(_BROKEN_FILE, problems)
    return documents


def _names_in(documents: Iterable[Document]) -> Iterator[TunnelName]:
    """Every name of a tunnel that the files write, also where the tunnel is not valid."""
    for document in documents:
        entries = document.value.get("tunnels")
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and isinstance(entry.get("name"), str):
                yield TunnelName(entry["name"])


def _check_rules(caller: Caller, basis: Basis, asked: Sequence[Tunnel], paths: Sequence[BodyPath]) -> None:
    others = _Rendered(basis.kept, name=str(basis.fragment))
    ours = _Rendered(asked, name=BODY)
    try:
        declared = parse_gateway([*basis.documents, others.document, ours.document]).tunnels
    except StateError as error:
        alone = _problems_of(basis.documents)
        if alone:
            raise _conflict(_BROKEN_FILE, alone) from error
        check_own_rights(caller, parse_gateway(basis.documents).clients or (), asked, paths)
        to_blame: Sequence[Problem]
        # A tunnel of somebody else with which something is wrong is left out, and no reason to refuse this.
        to_blame = [problem for problem in error.problems if not others.is_left_out(problem, ours)]
        to_blame = to_blame or _problems_of([*basis.documents, ours.document])
        if to_blame:
            raise _refusal(to_blame, others, ours, paths) from error
        declared = (*parse_gateway(basis.documents).tunnels, *basis.kept, *asked)
    if not caller.is_admin:
        _check_ports(caller, declared, asked, paths)


def _check_ports(
    caller: Caller, tunnels: Sequence[Tunnel], asked: Sequence[Tunnel], paths: Sequence[BodyPath]
) -> None:
    """A client keeps off the ports of others: a hostname beside a raw tunnel would slow that down for all
    its visitors, and one within another's glob would take visitors away from it."""
    others = {
        address: tunnel
        for tunnel in tunnels
        if tunnel.client != (caller.client,)
        for address in tunnel.listen
    }
    problems = [
        RequestProblem(
            # As threshold's words have it, whose entries have one address each.
            path=(*paths[index], "ListenPort" if len(paths[index]) == 1 else "listen"),
            message=f"{address} is a port of {', '.join(others[address].client)}; choose another one",
        )
        for index, tunnel in enumerate(asked)
        for address in tunnel.listen
        if address in others
    ]
    if problems:
        message = f"{caller.name} may declare tunnels only on ports of its own; ask an admin of the gateway"
        raise ApiError(HTTPStatus.FORBIDDEN, message, problems)


def _problems_of(documents: Sequence[Document]) -> Sequence[Problem]:
    try:
        parse_gateway(documents)
    except StateError as error:
        return error.problems
    return ()


class _Rendered:
    """Tunnels as the document they would be, and the way back from a place in it to a tunnel."""

    def __init__(self, tunnels: Sequence[Tunnel], *, name: str) -> None:
        self.tunnels = tunnels
        data = render_fragment(tunnels).encode()
        self.document = read_document(data, name=name, directory="", syntax=Syntax.TOML, owned=True)

    @cached_property
    def _starts(self) -> Sequence[int]:
        return [self.document.locate(("tunnels", index)).line for index in range(len(self.tunnels))]

    def index_at(self, place: Place | None) -> int | None:
        """Which of the tunnels that is, None if the place is not in this document."""
        if place is None or place.file != self.document.name:
            return None
        return max(bisect_right(self._starts, place.line) - 1, 0)

    def is_left_out(self, problem: Problem, ours: _Rendered) -> bool:
        """Whether the problem costs one of these tunnels its place, and has nothing to do with ours."""
        files = {place.file for place in (problem.place, problem.see) if place is not None}
        return self.document.name in files and ours.document.name not in files


def _refusal(
    problems: Sequence[Problem], others: _Rendered, ours: _Rendered, paths: Sequence[BodyPath]
) -> ApiError:
    """400 if the request by itself is to blame for anything, 409 if two things only cannot be together."""

    def spelled(place: Place) -> str:
        index = ours.index_at(place)
        if index is not None:
            return spell(paths[index])
        index = others.index_at(place)
        if index is not None:
            tunnel = others.tunnels[index]
            return f"the tunnel {quote(tunnel.name)} that {tunnel.declared_by} declared through the API"
        return str(place)

    def told(problem: Problem) -> RequestProblem:
        see = None if problem.see is None else spelled(problem.see)
        index = ours.index_at(problem.place)
        if index is not None:
            return RequestProblem(path=paths[index], message=problem.message, see=see)
        if problem.place is not None and others.index_at(problem.place) is not None:
            return RequestProblem(message=f"{spelled(problem.place)}: {problem.message}", see=see)
        return RequestProblem(place=problem.place, message=problem.message, see=see)

    if any(problem.see is None and ours.index_at(problem.place) is not None for problem in problems):
        message = "the tunnels are not valid; nothing was changed"
        return ApiError(HTTPStatus.BAD_REQUEST, message, map(told, problems))
    message = "the tunnels clash with what is declared already; nothing was changed"
    return ApiError(HTTPStatus.CONFLICT, message, map(told, problems))


def _conflict(message: str, problems: Iterable[Problem]) -> ApiError:
    told = map(RequestProblem.of, problems)
    return ApiError(HTTPStatus.CONFLICT, f"{message}; nothing was changed", told)
