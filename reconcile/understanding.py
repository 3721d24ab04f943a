"""What state files mean, worked out from their bytes.

Rule: the same bytes give the same answer in whatever process this runs and whatever
was read before: nothing is remembered here. ``schemas.parse`` has the last word on
what is wrong; parts that fit are what it would have nothing to say against.

This takes a second for ten thousand tunnels, and holds the interpreter meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import assert_never

from schemas.errors import Problem, StateError
from schemas.part import Part, fit, part_of, read_part
from schemas.roles import Role
from schemas.state import State
from schemas.text import Document

from .packing import PackedPart, pack
from .reading import StateText, read_documents


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """What all the files of a state mean together. ``parts`` are one a file, or one for all of them."""

    parts: tuple[PackedPart, ...] = ()  # none if there are problems
    left_out: tuple[Problem, ...] = ()  # what the state does not hold because there is no room for it
    problems: tuple[Problem, ...] = ()  # why there is no state


def get_ready() -> None:
    """Load what reading the usual files takes."""
    import schemas.parse
    import schemas.yaml_text  # noqa: F401 - to have it loaded


def understand(texts: Sequence[StateText], role: Role) -> Whole:
    """The state that the files are, or everything that is wrong with them."""
    documents, problems = read_documents(texts)
    if problems:
        return Whole(problems=problems)
    parts = _parts(documents, role)
    if parts is not None and fit(parts) is not None:
        return Whole(parts=tuple(pack(part) for part in parts))
    return _ask_the_parser(documents, role)


def understand_each(texts: Sequence[StateText], role: Role) -> tuple[PackedPart | None, ...]:
    """What each file declares, whatever the others do; None where anything is wrong with it by itself."""
    found = (read_documents([text])[0] for text in texts)
    parts = (read_part(documents[0], role) if documents else None for documents in found)
    return tuple(None if part is None else pack(part) for part in parts)


def _parts(documents: Sequence[Document], role: Role) -> list[Part] | None:
    parts: list[Part] = []
    for document in documents:
        part = read_part(document, role)
        if part is None:
            return None
        parts.append(part)
    return parts


def _ask_the_parser(documents: Sequence[Document], role: Role) -> Whole:
    from .leaving_out import leave_out  # as for the parser

    parse = _parser(role)
    try:
        return Whole(parts=(pack(part_of(parse(documents))),))
    except StateError as error:
        rest = leave_out(documents, error.problems)
        if rest is None:
            return Whole(problems=error.problems)
        fitting, left_out = rest
        try:
            return Whole(parts=(pack(part_of(parse(fitting))),), left_out=left_out)
        except StateError:
            return Whole(problems=error.problems)


def _parser(role: Role) -> Callable[[Sequence[Document]], State]:
    from schemas.parse import parse_client, parse_gateway  # as in read_part: only who reads files needs it

    match role:
        case Role.GATEWAY:
            return parse_gateway
        case Role.CLIENT:
            return parse_client
    assert_never(role)
