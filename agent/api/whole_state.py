"""A whole state that somebody sends back, and what of it is theirs to change.

Rule: a request changes what was declared through the API and nothing else. What an
operator's file says, and what others declared, must be in the document as it was
read; where it is not, the answer names the place at which it can be changed. The
rest becomes all that the caller declares, on the way of every other declaration.

Everything here blocks on the disk: call it in a worker thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from itertools import chain, islice
from pathlib import Path
from typing import Final, cast

from pydantic import ValidationError

from schemas.errors import Place, StateError
from schemas.names import TunnelName
from schemas.parse import parse_gateway
from schemas.quoting import describe, quote
from schemas.render import Inline, Rendered, render_section, render_state
from schemas.roles import Role, top_level_problems
from schemas.state import Tunnel
from schemas.text import Document, Syntax, read_document
from schemas.validating import Reading
from schemas.wording import problems_in

from .conditional import Digests
from .identity import Caller
from .problems import BODY, MAX_PROBLEMS, ApiError, RequestProblem, limited
from .problems import Path as BodyPath
from .proposal import Basis, Proposal, check_rights, conclude, read_basis, signed
from .threshold import MAX_ENTRIES, MAX_KEYS

_TUNNELS: Final = "tunnels"
_OPERATORS: Final = ("tidegate", "gateway", "clients", "revoked", "egress", "allow_empty")


def propose_state(
    state_path: Path,
    fragment: Path,
    caller: Caller,
    text: str,
    *,
    expected: Digests,
    shown: Collection[TunnelName],
) -> Proposal:
    """What to write so that this document is the state.

    :param text: JSON.
    :param expected: the files must have one of these digests.
    :param shown: the tunnels that a reader of the state was shown.
    :raises ApiError: as ``propose``; 409 also if the document changes what is not the caller's, each with
        the place at which it can be changed.
    """
    document = _read(text)
    basis = read_basis(state_path, fragment, caller, expected)
    entries = _Entries(_entries_of(document), _fixed(basis, shown))
    problems = limited(chain(_changed_settings(document, basis), entries.changed()))
    if problems:
        message = "the document changes what is declared elsewhere; nothing was changed"
        raise ApiError(HTTPStatus.CONFLICT, message, problems)
    tunnels, paths = _parse(document, entries.own())
    check_rights(caller, tunnels, [(*path, "client") for path in paths])
    return conclude(basis, caller, tuple(signed(tunnels, caller, basis.replaced)), paths)


def _read(text: str) -> Document:
    """:raises ApiError: 400 if it is no document of a gateway's state."""
    try:
        document = read_document(text.encode(), name=BODY, directory="", syntax=Syntax.JSON, owned=True)
    except StateError as error:
        raise _invalid(map(RequestProblem.of, error.problems)) from error
    problems = limited(_misshapen(document))
    if problems:
        raise _invalid(problems)
    return document


def _misshapen(document: Document) -> Iterator[RequestProblem]:
    """Why it is no document of a gateway's state with a list of tunnels that have names."""
    for problem in top_level_problems(document, Role.GATEWAY):
        yield RequestProblem.of(problem)
    for key in ("tidegate", "gateway"):
        if key not in document.value:
            message = f"{key} is missing; send the whole document, as GET /v1/state gives it"
            yield _wrong(document, (), message)
    entries = document.value.get(_TUNNELS, [])
    if not isinstance(entries, list):
        yield _wrong(document, (_TUNNELS,), f"{describe(entries)} stands where the list of tunnels belongs")
        return
    for index, entry in enumerate(entries):
        path = (_TUNNELS, index)
        if not isinstance(entry, dict):
            yield _wrong(document, path, f"{describe(entry)} stands where a tunnel belongs")
        elif not isinstance(entry.get("name"), str):
            yield _wrong(document, path, "its name is missing; every tunnel of the document has one")
        elif len(entry) > MAX_KEYS:
            yield _wrong(document, path, f"it has {len(entry):,} keys, which is too many for a tunnel")


def _entries_of(document: Document) -> Sequence[dict[str, object]]:
    """The tunnels of a document that is well shaped."""
    return cast("list[dict[str, object]]", document.value.get(_TUNNELS, []))


def _wrong(document: Document, path: BodyPath, message: str) -> RequestProblem:
    return RequestProblem(path=path, place=document.locate(path), message=message)


def _invalid(problems: Iterable[RequestProblem]) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, "the document is not valid; nothing was changed", problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fixed:
    """A tunnel that is not the caller's to change."""

    name: str
    rendered: Rendered
    owner: str  # as the subject of a sentence
    place: Callable[[], Place | None]
    is_shown: bool  # whether a document without it has left it out


def _fixed(basis: Basis, shown: Collection[TunnelName]) -> Mapping[str, _Fixed]:
    """What must be in the document as it is, by its name."""
    fixed: dict[str, _Fixed] = {}
    for document in basis.documents:
        entries = document.value.get(_TUNNELS, [])
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            try:
                tunnel = Tunnel.model_validate(entry, context=Reading(directory=document.directory))
            except ValidationError:
                continue  # the rules say what is wrong with it
            fixed[tunnel.name] = _Fixed(
                name=tunnel.name,
                rendered=_rendered(tunnel),
                owner=document.name,
                place=partial(document.locate, (_TUNNELS, index)),
                is_shown=tunnel.name in shown,
            )
    for tunnel in basis.kept:
        fixed[tunnel.name] = _Fixed(
            name=tunnel.name,
            rendered=_rendered(tunnel),
            owner=f"{tunnel.declared_by}, through the API,",
            place=lambda: None,
            is_shown=tunnel.name in shown,
        )
    return fixed


def _rendered(tunnel: Tunnel) -> Rendered:
    return render_section(tunnel, inline=Inline.HIDDEN)


@dataclass(frozen=True, slots=True)
class _Entries:
    """The entries of a document, told apart: those that are fixed, and ``own``, which are the caller's."""

    entries: Sequence[dict[str, object]]
    fixed: Mapping[str, _Fixed]

    def own(self) -> Sequence[int]:
        """The indexes of those that are the caller's."""
        return [index for index, entry in enumerate(self.entries) if entry["name"] not in self.fixed]

    def changed(self) -> Iterator[RequestProblem]:
        """Every fixed one that is not as it was."""
        seen: set[object] = set()
        for index, entry in enumerate(self.entries):
            name = entry["name"]
            fixed = self.fixed.get(str(name))
            if fixed is not None and (name in seen or entry != fixed.rendered):
                yield self._changed(fixed, (_TUNNELS, index), "stands here otherwise")
            seen.add(name)
        for name, fixed in self.fixed.items():
            if name not in seen and fixed.is_shown:
                yield self._changed(fixed, (_TUNNELS,), "is not in the document")

    def _changed(self, fixed: _Fixed, path: BodyPath, what: str) -> RequestProblem:
        name = quote(fixed.name)
        message = f"{fixed.owner} declares the tunnel {name}, which {what}: change it there"
        return RequestProblem(path=path, place=fixed.place(), message=message)


def _changed_settings(document: Document, basis: Basis) -> Iterator[RequestProblem]:
    """What the document says otherwise that only the operator's files can say."""
    try:
        declared = parse_gateway(basis.documents)
    except StateError:
        return  # which the rules tell, and then nothing can be changed
    current = render_state(declared, inline=Inline.HIDDEN)
    for key in _OPERATORS:
        yield from _differences(current.get(key), document.value.get(key), (key,), basis)


def _differences(
    declared: object, sent: object, path: tuple[str, ...], basis: Basis
) -> Iterator[RequestProblem]:
    if declared == sent:
        return
    if isinstance(declared, dict) and isinstance(sent, dict):
        for key in dict.fromkeys((*declared, *sent)):
            yield from _differences(declared.get(key), sent.get(key), (*path, str(key)), basis)
        return
    where = next(_places(path, basis), None)
    what = "left out" if sent is None else "set" if declared is None else "changed"
    message = f"{'.'.join(path)} is {what} here, and only the state file can say it: change it there"
    yield RequestProblem(path=path, place=where, message=message)


def _places(path: tuple[str, ...], basis: Basis) -> Iterator[Place]:
    """Where the operator's files say it, or would."""
    for length in range(len(path), 0, -1):
        for document in basis.documents:
            value: object = document.value
            for key in path[:length]:
                value = value.get(key) if isinstance(value, dict) else None
            if value is not None:
                yield document.locate(path[:length])


def _parse(document: Document, indexes: Sequence[int]) -> tuple[Sequence[Tunnel], Sequence[BodyPath]]:
    """The tunnels at these indexes, and where they stand.

    :raises ApiError: 400, with what is wrong with them, as much as is told.
    """
    if len(indexes) > MAX_ENTRIES:
        message = f"it declares {len(indexes):,} tunnels; declare at most {MAX_ENTRIES:,} through the API"
        raise _invalid([RequestProblem(path=(_TUNNELS,), message=message)])
    entries = _entries_of(document)
    tunnels: list[Tunnel] = []
    problems: list[RequestProblem] = []
    for index in indexes:
        try:
            tunnels.append(Tunnel.model_validate(entries[index], context=Reading(directory="")))
        except ValidationError as error:
            found = problems_in(error, Tunnel, entries[index], document=document, path=(_TUNNELS, index))
            told = (
                RequestProblem(path=(_TUNNELS, index), place=problem.place, message=problem.message)
                for problem in found
            )
            problems.extend(islice(told, MAX_PROBLEMS + 1 - len(problems)))
            if len(problems) > MAX_PROBLEMS:
                break
    if problems:
        raise _invalid(problems)
    return tunnels, [(_TUNNELS, index) for index in indexes]
