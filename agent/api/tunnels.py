"""Clients and tunnels as programs written for threshold ask for them.

Rule: what a body means is ``threshold``'s to say, and what becomes of it ``declared``'s.
Here the two are put together.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response

from schemas.errors import Place
from schemas.json_text import json_positions
from schemas.state import Tunnel

from .body import LIMIT, OWN_LIMIT, parse_json, read_json_text
from .conditional import ETAG, expected_digests, tag
from .declared import DeclaredTunnels
from .operation import JSON, TEXT, Ask, Content, Parameter, Rights, Schema, Where, operation
from .problems import BODY, ApiError
from .threshold import ENTRY_SCHEMA, InvalidEntriesError, parse_entries, to_entries
from .working import work

_ENTRIES: Final[Schema] = {"type": "array", "items": ENTRY_SCHEMA}
_STATES: Final[Schema] = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "properties": {"CurrentState": {"type": "string"}, "LastState": {"type": "string"}},
        "required": ["CurrentState", "LastState"],
    },
}
_ON_A_CLIENT: Final = {HTTPStatus.NOT_FOUND: "The agent is a client."}

#: Why nothing at all can be declared, whatever it is.
DECLARING: Final = {
    **_ON_A_CLIENT,
    HTTPStatus.PRECONDITION_FAILED: "The state has changed since it was read.",
    HTTPStatus.GATEWAY_TIMEOUT: "It did not come into force in time.",
    HTTPStatus.INSUFFICIENT_STORAGE: "The disk is full.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The gateway is stopping.",
}


@operation(
    "GET",
    "/clients",
    summary="The clients of a gateway, in threshold's words",
    rights=Rights.KNOWN,
    answer=Content(description="The state of every known client, by its id.", of=_STATES),
    errors=_ON_A_CLIENT,
)
async def clients(ask: Ask) -> Response:
    declared_of(ask)  # only a gateway has clients
    states = ask.backend.client_states()
    told = {client: {"CurrentState": now, "LastState": last} for client, (now, last) in states.items()}
    return Response(_written(told), media_type=JSON)


@operation(
    "GET",
    "/tunnels",
    summary="The tunnels of the accepted state, in threshold's words",
    rights=Rights.KNOWN,
    answer=Content(
        description="One entry for every address and hostname of every tunnel.", of=_ENTRIES, headers=ETAG
    ),
    errors=_ON_A_CLIENT,
)
async def list_tunnels(ask: Ask) -> Response:
    declared = declared_of(ask)
    return await _entries(declared.in_force(), ask)


@operation(
    "PUT",
    "/tunnels",
    summary="Declare tunnels, in threshold's words",
    description="A full replacement of what this caller declared before; an admin's replaces all that was "
    "declared through the API. A client that is no admin may declare tunnels for itself. The answer comes "
    "when all of it is in force, or none of it is.",
    rights=Rights.KNOWN,
    takes=Content(description="The tunnels.", of=_ENTRIES),
    parameters=[
        Parameter(
            name="If-Match",
            where=Where.HEADER,
            description="The ETag of the tunnels that were read: nobody else's change is overwritten.",
            schema=TEXT,
        )
    ],
    answer=Content(description="The tunnels in force.", of=_ENTRIES, headers=ETAG),
    errors={
        **DECLARING,
        HTTPStatus.BAD_REQUEST: "The tunnels are not valid.",
        HTTPStatus.CONFLICT: "They clash with others, or a port cannot be opened.",
    },
)
async def declare_tunnels(ask: Ask) -> Response:
    declared = declared_of(ask)
    caller = ask.caller
    expected = expected_digests(ask.request, needed=False)
    text = await read_json_text(ask.request, limit=LIMIT if caller.is_admin else OWN_LIMIT)
    tunnels = await work(_read_tunnels, text)
    return await _entries(await declared.replace(caller, tunnels, expected=expected), ask)


def declared_of(ask: Ask) -> DeclaredTunnels:
    """The owner of the tunnels that the API declared.

    :raises ApiError: 404 if the agent is a client.
    """
    declared = ask.backend.declared
    if declared is None:
        message = "this agent is a client, and clients and tunnels are a gateway's; ask the gateway"
        raise ApiError(HTTPStatus.NOT_FOUND, message)
    return declared


def _read_tunnels(text: str) -> Sequence[Tunnel]:
    value = parse_json(text)
    try:
        return parse_entries(value)
    except InvalidEntriesError as error:
        at = json_positions(text)
        problems = (
            replace(problem, place=Place(BODY, *at.find(problem.path or ()))) for problem in error.problems
        )
        message = "the tunnels are not valid; nothing was changed"
        raise ApiError(HTTPStatus.BAD_REQUEST, message, problems) from error


async def _entries(tunnels: Sequence[Tunnel], ask: Ask) -> Response:
    """The tunnels of the accepted state, with its tag."""
    headers = {"ETag": tag(ask.backend.accepted()[1])}
    body = await work(lambda: _written(to_entries(tunnels)))
    return Response(body, media_type=JSON, headers=headers)


def _written(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


OPERATIONS = (clients, list_tunnels, declare_tunnels)
