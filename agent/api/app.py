"""What can be asked of an agent: the list, and how an error is answered.

Rule: what an operation does, and who may ask, is said where it is declared; here is
which there are. ``GET /v1/openapi.json`` describes each of them.

Everything that is not a success is answered as ``application/problem+json``, RFC 9457.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from schemas.quoting import quote

from . import (
    confirmation,
    event_stream,
    history,
    openapi,
    planning,
    reload,
    standing,
    state,
    tunnels,
    visitors,
)
from .backend import Backend
from .operation import Operation, routes
from .problems import PROBLEM_JSON, ApiError

#: Everything that is served, group by group.
OPERATIONS: Final[tuple[Operation, ...]] = (
    *standing.OPERATIONS,
    *reload.OPERATIONS,
    *visitors.OPERATIONS,
    *event_stream.OPERATIONS,
    *tunnels.OPERATIONS,
    *state.OPERATIONS,
    *planning.OPERATIONS,
    *history.OPERATIONS,
    *confirmation.OPERATIONS,
    *openapi.OPERATIONS,
)


def create_app(backend: Backend) -> Starlette:
    """The API of one agent. Serve it with ``serve_api``, which says who calls."""
    app = Starlette(
        routes=routes(OPERATIONS, backend),
        exception_handlers={ApiError: _answer_error, HTTPException: _answer_error, Exception: _answer_defect},
    )
    # A redirect would send a caller to wherever its Host header says.
    app.router.redirect_slashes = False
    return app


async def _answer_error(request: Request, error: Exception) -> Response:
    match error:
        case ApiError():
            return _problem(error)
        case HTTPException(status_code=404):
            path = quote(request.url.path)
            there_is = ", ".join(dict.fromkeys(operation.path for operation in OPERATIONS))
            return _problem(
                ApiError(HTTPStatus.NOT_FOUND, f"there is nothing at {path}; there is {there_is}")
            )
        case HTTPException(status_code=405, headers=headers):
            allowed = ", ".join(sorted((headers or {}).get("Allow", "GET").split(", ")))
            message = f"{quote(request.method)} is not possible here; use {allowed}"
            return _problem(ApiError(HTTPStatus.METHOD_NOT_ALLOWED, message, headers={"Allow": allowed}))
        case HTTPException(status_code=status, detail=detail):
            return _problem(ApiError(HTTPStatus(status), detail))
        case _:
            return await _answer_defect(request, error)


async def _answer_defect(request: Request, error: Exception) -> Response:
    message = "a defect in Tidegate; the agent's log has the details, please report them"
    return _problem(ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, message))


def _problem(error: ApiError) -> Response:
    body: dict[str, Any] = error.to_json()
    headers = {"Content-Type": PROBLEM_JSON, **error.headers}
    return Response(json.dumps(body, indent=2) + "\n", status_code=error.status.value, headers=headers)
