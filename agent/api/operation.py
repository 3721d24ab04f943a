"""One thing that can be asked of an agent: by which request, by whom, and what is answered.

Rule: whatever the API serves is an ``Operation``, declared at its handler with all that
its description says, so that nothing can be served and left out of ``/v1/openapi.json``.
Who may ask is checked here, before a handler is called.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .backend import Backend
from .identity import Caller, caller_of
from .problems import ApiError
from .working import turn_of

JSON: Final = "application/json"

#: A JSON Schema, 2020-12, which is what OpenAPI 3.1 speaks.
Schema: TypeAlias = Mapping[str, Any]


class Rights(Enum):
    """Who may ask."""

    ANYBODY = "whoever can connect"
    KNOWN = "the unix socket, and whoever shows the certificate of a client that may connect"
    ADMIN = "the unix socket, and the clients in gateway.admins"


class Where(Enum):
    """Where in a request a parameter stands, in the words of OpenAPI."""

    QUERY = "query"
    PATH = "path"
    HEADER = "header"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A part of a request besides its body."""

    name: str
    where: Where
    description: str
    required: bool = False
    schema: Schema


@dataclass(frozen=True, slots=True)
class Later:
    """A schema that is made when somebody asks for it. With a ``title`` in it, it is described once."""

    make: Callable[[], Schema]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A body. ``of`` is the pydantic model or type that it is made of, a schema, or one to be made later."""

    description: str
    of: Any
    media_type: str = JSON
    headers: Mapping[str, str] | None = None  # of an answer: the name of each, and what it says


#: The schema of a text that programs need not take apart.
TEXT: Final[Schema] = {"type": "string"}


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, and whom it reached."""

    request: Request
    backend: Backend
    operations: Sequence[Operation]  # everything that can be asked

    @property
    def caller(self) -> Caller:
        """Who asks. Found out anew, so that somebody who is answered for an hour can be asked about again.

        :raises ApiError: 403 if that is nobody we know.
        """
        return caller_of(self.request)


Handler: TypeAlias = Callable[[Ask], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method on one path. ``path`` is Starlette's, which may hold ``{name:int}``.

    ``errors`` are those of its own; what any request can be answered with is not among them.
    """

    method: str
    path: str
    summary: str
    description: str
    rights: Rights
    answer: Content
    takes: tuple[Content, ...]  # one of these is the body of the request; empty if it has none
    parameters: tuple[Parameter, ...]
    errors: Mapping[HTTPStatus, str]
    handle: Handler

    async def respond(self, ask: Ask) -> Response:
        """The answer.

        :raises ApiError: if there is none, also because the caller may not ask.
        """
        if self.rights is not Rights.ANYBODY:
            caller = ask.caller
            if self.rights is Rights.ADMIN and not caller.is_admin:
                raise ApiError(
                    HTTPStatus.FORBIDDEN,
                    f"{caller.name} is no admin: ask one, use the unix socket on the agent's machine, or add "
                    f"{caller.name} to gateway.admins in the gateway's state file",
                )
            async with turn_of(caller, self.method):
                return await self.handle(ask)
        return await self.handle(ask)


def operation(
    method: str,
    path: str,
    *,
    summary: str,
    description: str = "",
    rights: Rights,
    answer: Content,
    takes: Content | Iterable[Content] = (),
    parameters: Iterable[Parameter] = (),
    errors: Mapping[HTTPStatus, str] | None = None,
) -> Callable[[Handler], Operation]:
    """Declare what the handler below answers."""

    def declare(handle: Handler) -> Operation:
        return Operation(
            method=method,
            path=path,
            summary=summary,
            description=description,
            rights=rights,
            answer=answer,
            takes=(takes,) if isinstance(takes, Content) else tuple(takes),
            parameters=tuple(parameters),
            errors=dict(errors or {}),
            handle=handle,
        )

    return declare


def routes(operations: Sequence[Operation], backend: Backend) -> list[Route]:
    """A route for every path, in the order of the operations. HEAD is GET without the body."""
    by_path: dict[str, dict[str, Operation]] = {}
    for one in operations:
        by_path.setdefault(one.path, {})[one.method] = one
    return [
        Route(path, _answering(methods, operations, backend), methods=list(methods))
        for path, methods in by_path.items()
    ]


def _answering(
    methods: Mapping[str, Operation], operations: Sequence[Operation], backend: Backend
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await methods[method].respond(Ask(request, backend, operations))

    return answer
