"""The body of a request: JSON, of a bounded size, within a bounded time.

Rule: no endpoint reads a body in any other way. What is too much is refused before
it is read where the request says its size, and otherwise as soon as it is too much.
"""

from __future__ import annotations

from email.message import Message
from http import HTTPStatus
from typing import Final, TypeVar

import anyio
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from schemas.errors import Place, StateError
from schemas.json_text import read_json
from schemas.quoting import quote

from .problems import BODY, ApiError, RequestProblem

_Model = TypeVar("_Model", bound=BaseModel)

#: Bytes; more than ten thousand tunnels. It bounds what a caller can make the agent hold and parse.
LIMIT: Final = 2 * 1024 * 1024

#: Bytes of a caller that is no admin, which declares tunnels of its own only: a thousand and more.
OWN_LIMIT: Final = 256 * 1024

#: Values of a body. Ten thousand tunnels have a hundred thousand; four million would fit into the bytes,
#: and whoever says where each of them stands would need a minute and a gigabyte.
MAX_VALUES: Final = 200_000

#: Seconds that a body may take to arrive.
PATIENCE: Final = 30.0


async def read_json_text(request: Request, *, limit: int = LIMIT) -> str:
    """The text of a body that says it is JSON.

    A body that does not say what it is counts as JSON; curl says that it is a form.

    :raises ApiError: 415 if it says that it is anything else, 413 if it has too many values, and as
        :func:`read_text`.
    """
    _check_type(request)
    text = await read_text(request, limit=limit)
    # Each value is the first in something or stands behind a comma. Those within texts are few.
    if sum(map(text.count, ",[{")) > MAX_VALUES:
        message = f"the body has more than {MAX_VALUES:,} values; send less"
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
    return text


async def read_text(request: Request, *, limit: int = LIMIT) -> str:
    """The text of a body, whatever it says it is.

    :raises ApiError: 413 if it is larger than ``limit`` bytes, 408 if it takes too long, 400 if it
        is not UTF-8.
    """
    data = await _read(request, limit)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"the byte 0x{data[error.start]:02x} of the body is not UTF-8; send it in UTF-8"
        raise ApiError(HTTPStatus.BAD_REQUEST, message) from error


def read_model(model: type[_Model], text: str, *, how: str) -> _Model:
    """What the text of a body says, as that model has it. Of a large one, ask in a worker thread.

    :param how: how such a body is made, for whoever sent something else.
    :raises ApiError: 400, with every part that does not fit.
    """
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        problems = [
            RequestProblem(path=fault["loc"], message=fault["msg"])
            for fault in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        message = f"the body is not understood; {how}"
        raise ApiError(HTTPStatus.BAD_REQUEST, message, problems) from error


def media_type(request: Request) -> str:
    """What the body says it is, without parameters, in lower case; JSON if it does not say."""
    header = Message()
    header["content-type"] = request.headers.get("content-type", "") or "application/json"
    return header.get_content_type()


def parse_json(text: str) -> object:
    """The value of the text. It takes a moment: call it in a worker thread.

    :raises ApiError: 400, with the place of every mistake.
    """
    if not text.strip():
        where = Place(BODY, 1, 1)
        problem = RequestProblem(
            path=(), place=where, message="it is empty; send a list, [] if it has no entries"
        )
        raise ApiError(HTTPStatus.BAD_REQUEST, "the body is empty", [problem])
    try:
        return read_json(text, file=BODY)
    except StateError as error:
        problems = map(RequestProblem.of, error.problems)
        raise ApiError(HTTPStatus.BAD_REQUEST, "the body is not JSON", problems) from error


def _check_type(request: Request) -> None:
    said = request.headers.get("content-type", "")
    kind = media_type(request)
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise ApiError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the body is said to be {quote(said)}; send JSON and say so: "
            'with curl, add -H "Content-Type: application/json"',
            headers={"Accept": "application/json"},
        )


async def _read(request: Request, limit: int) -> bytes:
    said = request.headers.get("content-length", "")
    too_large = f"the body is larger than {limit / 2**20:g} MiB; send less"
    if said.isascii() and said.isdigit() and int(said) > limit:
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large)
    body = bytearray()
    try:
        with anyio.fail_after(PATIENCE):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large)
    except TimeoutError as error:
        message = f"the body did not arrive within {PATIENCE:g} s; send it in one piece"
        raise ApiError(HTTPStatus.REQUEST_TIMEOUT, message) from error
    return bytes(body)
