"""Which role a set of documents is for, and which keys may stand at the top of each.

Rule: the section ``gateway`` or ``client`` says the role, and it stands in exactly
one of the documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Final

from .errors import Problem, StateError
from .quoting import quote
from .suggest import suggest
from .text import Document


class Role(Enum):
    """What an agent is. The value is the name of the section, and of the command."""

    GATEWAY = "gateway"
    CLIENT = "client"

    @property
    def other(self) -> Role:
        """The other one."""
        return Role.CLIENT if self is Role.GATEWAY else Role.GATEWAY


_KEYS: Final = {
    Role.GATEWAY: ("tidegate", "gateway", "clients", "tunnels", "revoked", "egress", "allow_empty"),
    Role.CLIENT: ("tidegate", "client", "services", "socks5", "tunnels", "allow_empty"),
}
# Keys that say nothing about the role.
_SHARED: Final = frozenset(_KEYS[Role.GATEWAY]) & frozenset(_KEYS[Role.CLIENT])


def find_role(documents: Sequence[Document], *, wanted: Role | None) -> tuple[Role | None, list[Problem]]:
    """The role, None if there is no telling, and what is wrong with how the documents say it.

    :raises StateError: if there are no documents.
    """
    if not documents:
        raise StateError(
            [Problem(None, "there is no state file here; write one that ends in .yaml, .toml or .json")]
        )
    sections = [(document, role) for document in documents for role in Role if role.value in document.value]
    if not sections:
        return _guess(documents, wanted)
    first, role = sections[0]
    roles = {said for _, said in sections}
    if wanted is not None and roles == {wanted.other}:
        command = f"tidegate {role.value} {first.name}"
        here = first.locate((role.value,), key=True)
        return None, [Problem(here, f"this is the state of a {role.value}; run {quote(command)} to use it")]
    problems: list[Problem] = []
    for document, said in sections[1:]:
        where = document.locate((said.value,), key=True)
        if said is role:
            message = f"the section {said.value} stands in another file already; keep one"
        else:
            message = "an agent plays one role, gateway or client; move this section into a state of its own"
        problems.append(Problem(where, message, see=first.locate((role.value,), key=True)))
    return (role if len(roles) == 1 else None), problems


def top_level_problems(document: Document, role: Role) -> Iterator[Problem]:
    """Every key at the top of a document that has no business there."""
    from .wording import unknown_key  # every agent knows its role, and few have a mistake to speak of

    known = _KEYS[role]
    for key in document.value:
        if key in known:
            continue
        where = document.locate((key,), key=True)
        if key in _KEYS[role.other]:
            yield Problem(where, f"{key} belongs in the state of a {role.other.value}; move it there")
        else:
            yield Problem(where, unknown_key(key, known, of=f"a {role.value}'s state"))


def _guess(documents: Sequence[Document], wanted: Role | None) -> tuple[Role | None, list[Problem]]:
    """No section says the role; a misspelled one, or what else is there, may."""
    keys = [key for document in documents for key in document.value]
    for candidate in Role if wanted is None else (wanted,):
        known = _KEYS[candidate]
        if any(key not in known and suggest(key, known) == candidate.value for key in keys):
            return candidate, []  # reported as an unknown key, with the right one
    likely = [role for role in Role if any(key in _KEYS[role] and key not in _SHARED for key in keys)]
    if not likely and "tunnels" in keys:
        likely = [Role.GATEWAY]  # a client may have some, but nobody has a client for them alone
    role = wanted or (likely[0] if len(likely) == 1 else None)
    if role is None:
        message = 'there is neither a section "gateway" nor "client"; add the one for the role of this agent'
    else:
        message = f'the section "{role.value}" is missing; add it with the settings of the {role.value}'
    return role, [Problem(documents[0].locate(()), message)]
