"""The state files of the examples, as their agents understand them."""

from __future__ import annotations

from pathlib import Path

from schemas.parse import parse_state
from schemas.state import State
from schemas.text import read_document, syntax_for


def state_of(path: Path, *, text: str | None = None) -> State:
    """The state in that file, or in a text that is to stand there.

    :raises StateError: if it is none.
    """
    data = path.read_bytes() if text is None else text.encode()
    document = read_document(data, name=path.name, directory=str(path.parent), syntax=syntax_for(path.name))
    return parse_state([document])
