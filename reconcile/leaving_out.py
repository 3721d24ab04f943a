"""What gives way when the operator's files and the tunnels declared through the API do not fit together.

Rule: the operator's files win. A declared tunnel that they leave no room for (its
client is no longer listed, its port or hostname is taken) is left out and told of;
it comes into force by itself once there is room. Otherwise whoever may declare one
tunnel could keep an operator from changing a file, or a gateway from starting.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace

from schemas.errors import Place, Problem
from schemas.text import Document


def leave_out(
    documents: Sequence[Document], problems: Iterable[Problem]
) -> tuple[list[Document], tuple[Problem, ...]] | None:
    """The documents without the declared tunnels that cause these problems, and what to say of each.

    None if something else is wrong as well: then nothing is left out.
    """
    owned = next((document for document in documents if document.owned), None)
    tunnels = owned.value.get("tunnels") if owned is not None else None
    if owned is None or not isinstance(tunnels, list):
        return None
    starts = [owned.locate(("tunnels", index)).line for index in range(len(tunnels))]
    clashing: set[int] = set()
    told: list[Problem] = []
    for problem in problems:
        place = _in_fragment(problem, owned)
        if place is None:
            return None
        clashing.add(bisect_right(starts, place.line) - 1)
        message = f"{problem.message}; until then this tunnel, declared through the API, is left out"
        told.append(replace(problem, message=message))
    kept = [tunnel for index, tunnel in enumerate(tunnels) if index not in clashing]
    rest = Document({**owned.value, "tunnels": kept}, name=owned.name, directory=owned.directory, owned=True)
    return [rest if document.owned else document for document in documents], tuple(told)


def _in_fragment(problem: Problem, owned: Document) -> Place | None:
    """The place of the problem within the fragment, if it has one."""
    for place in (problem.place, problem.see):
        if place is not None and place.file == owned.name:
            return place
    return None
