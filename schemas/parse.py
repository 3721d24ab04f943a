"""Documents to one state.

Rule: a state comes only from here, and only if nothing at all is wrong with it;
otherwise a ``StateError`` lists every problem that can be known, by file and line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .errors import Problem, StateError
from .merge import Merge
from .roles import Role, find_role
from .state import ClientState, GatewayState, State
from .text import Document


def parse_state(documents: Sequence[Document]) -> State:
    """The state that the documents declare together; which role it is for follows from their sections.

    :raises StateError: with every problem, in the order of the documents and of their lines.
    """
    return _parse(documents, wanted=None)


def parse_gateway(documents: Sequence[Document]) -> GatewayState:
    """As ``parse_state``, for an agent that plays the gateway.

    :raises StateError: also if the documents are for a client.
    """
    state = _parse(documents, wanted=Role.GATEWAY)
    assert isinstance(state, GatewayState)
    return state


def parse_client(documents: Sequence[Document]) -> ClientState:
    """As ``parse_state``, for an agent that plays the client.

    :raises StateError: also if the documents are for a gateway.
    """
    state = _parse(documents, wanted=Role.CLIENT)
    assert isinstance(state, ClientState)
    return state


def _parse(documents: Sequence[Document], *, wanted: Role | None) -> State:
    role, problems = find_role(documents, wanted=wanted)
    if role is None:
        raise StateError(_sorted(problems, documents))
    merge = Merge(problems=problems)
    for document in documents:
        merge.add(document, role)
    state = merge.gateway_state() if role is Role.GATEWAY else merge.client_state()
    if problems or state is None:
        raise StateError(_sorted(problems, documents))
    return state


def _sorted(problems: Iterable[Problem], documents: Sequence[Document]) -> list[Problem]:
    """In the order of the documents and their lines, each problem once: an alias may repeat one."""
    order = {document.name: index for index, document in enumerate(documents)}

    def key(problem: Problem) -> tuple[int, int, int, str]:
        at = problem.place
        if at is None:
            return (-1, 0, 0, problem.message)
        return (order.get(at.file, len(order)), at.line, at.col, problem.message)

    return sorted(dict.fromkeys(problems), key=key)
