"""What can be asked of an agent, and what it answers.

Rule: routes, and nothing else. Who calls is ``identity``'s to say, what a body
means ``threshold``'s, and what becomes of it ``declared``'s.

=========================  ========================================================
``GET /ping``              ``pong``, to whoever may connect
``GET /healthz``           200: the process lives
``GET /readyz``            200 if the desired state is in force; 503 with the reasons
``GET /v1/status``         the agent's status, ``schemas.status``
``GET /clients``           threshold's list of clients; a gateway only
``GET /tunnels``           the tunnels of the accepted state, threshold's JSON; a gateway only
``PUT /tunnels``           declare tunnels: a full replacement, threshold's JSON; a gateway only
=========================  ========================================================

Everything that is not a success is answered as ``application/problem+json``, RFC 9457.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from reconcile.observed import Phase
from schemas.errors import Place
from schemas.json_text import json_positions
from schemas.quoting import quote
from schemas.state import Tunnel
from schemas.status import AgentStatus

from .backend import Backend
from .body import parse_json, read_json_text
from .declared import DeclaredTunnels
from .identity import Caller, caller_of
from .problems import BODY, PROBLEM_JSON, ApiError, RequestProblem
from .threshold import InvalidEntriesError, parse_entries, to_entries

_Endpoint: TypeAlias = Callable[[Request, Caller], Awaitable[Response]]

_PATHS: Final = "/ping, /healthz, /readyz, /v1/status, /clients, /tunnels"


def create_app(backend: Backend) -> Starlette:
    """The API of one agent. Serve it with ``serve_api``, which says who calls."""
    api = _Api(backend)
    app = Starlette(
        routes=[
            Route("/ping", _ping),
            Route("/healthz", _known(api.health)),
            Route("/readyz", _known(api.readiness)),
            Route("/v1/status", _known(api.status)),
            Route("/clients", _known(api.clients)),
            Route("/tunnels", _known(api.tunnels), methods=["GET", "PUT"]),
        ],
        exception_handlers={ApiError: _answer_error, HTTPException: _answer_error, Exception: _answer_defect},
    )
    # A redirect would send a caller to wherever its Host header says.
    app.router.redirect_slashes = False
    return app


async def _ping(request: Request) -> Response:
    return PlainTextResponse("pong")


class _Api:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def health(self, request: Request, caller: Caller) -> Response:
        return PlainTextResponse("ok\n")

    async def readiness(self, request: Request, caller: Caller) -> Response:
        status = self._backend.status()
        if not status.ready:
            reasons = tuple(_reasons(status))
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "the desired state is not in force", reasons)
        return PlainTextResponse("ready\n")

    async def status(self, request: Request, caller: Caller) -> Response:
        return Response(self._backend.status().model_dump_json(), media_type="application/json")

    async def clients(self, request: Request, caller: Caller) -> Response:
        self._declared()  # only a gateway has clients
        states = self._backend.client_states()
        return _json(
            {client: {"CurrentState": now, "LastState": last} for client, (now, last) in states.items()}
        )

    async def tunnels(self, request: Request, caller: Caller) -> Response:
        declared = self._declared()
        if request.method != "PUT":
            return _json(to_entries(declared.in_force()))
        text = await read_json_text(request)
        tunnels = await anyio.to_thread.run_sync(_read_tunnels, text)
        return _json(to_entries(await declared.replace(caller, tunnels)))

    def _declared(self) -> DeclaredTunnels:
        declared = self._backend.declared
        if declared is None:
            message = "this agent is a client, and clients and tunnels are a gateway's; ask the gateway"
            raise ApiError(HTTPStatus.NOT_FOUND, message)
        return declared


def _known(endpoint: _Endpoint) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint, for those who may use it."""

    async def answer(request: Request) -> Response:
        return await endpoint(request, caller_of(request))

    return answer


def _read_tunnels(text: str) -> Sequence[Tunnel]:
    value = parse_json(text)
    try:
        return parse_entries(value)
    except InvalidEntriesError as error:
        at = json_positions(text)
        problems = [
            RequestProblem(
                path=problem.path, message=problem.message, place=Place(BODY, *at.find(problem.path or ()))
            )
            for problem in error.problems
        ]
        message = "the tunnels are not valid; nothing was changed"
        raise ApiError(HTTPStatus.BAD_REQUEST, message, problems) from error


def _reasons(status: AgentStatus) -> Iterator[RequestProblem]:
    source = status.source
    for problem in source.problems:
        place = None
        if problem.file is not None:
            place = Place(problem.file, problem.line or 1, problem.col or 1)
        yield RequestProblem(place=place, message=problem.message)
    for resource in status.resources:
        if resource.phase != Phase.OPEN.value:
            name = f"{resource.kind} {resource.name}".strip()
            why = f": {resource.message}" if resource.message else ""
            yield RequestProblem(message=f"{name} is {resource.phase}{why}")
    if source.generation == 0:
        yield RequestProblem(message="no state was accepted yet")
    elif source.observed_generation != source.generation:
        in_force = source.observed_generation or "none before it"
        yield RequestProblem(message=f"generation {source.generation} is not in force yet; {in_force} was")


def _json(value: object) -> Response:
    return Response(json.dumps(value, separators=(",", ":")), media_type="application/json")


async def _answer_error(request: Request, error: Exception) -> Response:
    match error:
        case ApiError():
            return _problem(error)
        case HTTPException(status_code=404):
            path = quote(request.url.path)
            return _problem(ApiError(HTTPStatus.NOT_FOUND, f"there is nothing at {path}; there is {_PATHS}"))
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
