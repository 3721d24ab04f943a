"""``/v1/state``: the whole accepted state, to read and to send back.

Rule: nobody overwrites what they have not seen: whoever sends a state names the one
that they read. What it may change is ``whole_state``'s to say.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Final

from starlette.responses import Response

from schemas.render import Inline, render_state
from schemas.state import State

from . import body
from .body import read_json_text
from .conditional import ETAG, expected_digests, is_known, tag
from .operation import JSON, TEXT, Ask, Content, Later, Operation, Parameter, Rights, Schema, Where, operation
from .problems import ApiError
from .tunnels import DECLARING, declared_of
from .working import work

#: Bytes of an admin's document: ten thousand tunnels with everything that can be said of them.
LIMIT: Final = 8 * 1024 * 1024


def _document_schema() -> Schema:
    from .state_schema import state_schema  # not before somebody asks for the description of the API

    return state_schema()


_DOCUMENT: Final = Later(_document_schema)
_IF_MATCH: Final = "The ETag of the state that was read; * is whatever it is."


@operation(
    "GET",
    "/v1/state",
    summary="The whole accepted state",
    description="What the operator's files say, and the tunnels that were declared through the API, as one "
    "document of the state file. What has its default is left out, and PEM text is not shown.",
    rights=Rights.KNOWN,
    parameters=[
        Parameter(
            name="If-None-Match",
            where=Where.HEADER,
            description="The ETag of the state that the caller has; 304 is the answer if it is the same.",
            schema=TEXT,
        )
    ],
    answer=Content(description="The state.", of=_DOCUMENT, headers=ETAG),
    errors={
        HTTPStatus.NOT_MODIFIED: "It is the one that the caller has.",
        HTTPStatus.BAD_REQUEST: "If-None-Match cannot be read.",
    },
)
async def read_state(ask: Ask) -> Response:
    state, digest = ask.backend.accepted()
    if is_known(ask.request, digest):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag(digest)})
    return await _answer(state, digest)


@operation(
    "PUT",
    "/v1/state",
    summary="Send the state back, changed",
    description="The tunnels that no file of the operator declares become all that this caller declares; an "
    "admin's replace all that was declared through the API. Everything else must be as it was read: a file "
    "is never rewritten. The answer comes when all of it is in force, or none of it is.",
    rights=Rights.KNOWN,
    parameters=[
        Parameter(name="If-Match", where=Where.HEADER, description=_IF_MATCH, required=True, schema=TEXT)
    ],
    takes=Content(description="The document, as GET gives it.", of=_DOCUMENT),
    answer=Content(description="The state in force.", of=_DOCUMENT, headers=ETAG),
    errors={
        **DECLARING,
        HTTPStatus.BAD_REQUEST: "The document is not valid, or If-Match cannot be read.",
        HTTPStatus.CONFLICT: "It changes or clashes with what is declared elsewhere, or a port is taken.",
        HTTPStatus.PRECONDITION_REQUIRED: "If-Match is missing.",
    },
)
async def write_state(ask: Ask) -> Response:
    declared = declared_of(ask)
    caller = ask.caller
    expected = expected_digests(ask.request, needed=True)
    text = await read_json_text(ask.request, limit=LIMIT if caller.is_admin else body.LIMIT)
    await declared.replace_state(caller, text, expected=expected)
    return await _answer(*ask.backend.accepted())


async def _answer(state: State | None, digest: str) -> Response:
    if state is None:
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "no state was accepted yet; ask again in a moment")
    text = await work(_render, state)  # ten thousand tunnels take a tenth of a second
    return Response(text, media_type=JSON, headers={"ETag": tag(digest)})


def _render(state: State) -> str:
    return json.dumps(render_state(state, inline=Inline.HIDDEN), ensure_ascii=False, separators=(",", ":"))


OPERATIONS: Final[tuple[Operation, ...]] = (read_state, write_state)
