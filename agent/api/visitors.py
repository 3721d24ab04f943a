"""``GET /v1/explain``: what becomes of a visitor.

Rule: ``agent.gateway.explain`` says what; here a query becomes its question.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from agent.gateway.explain import explain
from agent.gateway.question import Question, parse_question
from schemas.explanation import Explanation
from schemas.quoting import quote
from schemas.suggest import suggest

from .operation import JSON, TEXT, Ask, Content, Operation, Parameter, Rights, Where, operation
from .problems import ApiError
from .working import work

_PARAMETERS: Final = (
    Parameter(
        name="listen",
        where=Where.QUERY,
        description="Where the visitor connects, as 203.0.113.7:443; :443 is any address of the gateway.",
        required=True,
        schema=TEXT,
    ),
    Parameter(
        name="sni",
        where=Where.QUERY,
        description="The server name in its TLS ClientHello, if it speaks TLS and sends one.",
        schema=TEXT,
    ),
    Parameter(
        name="host",
        where=Where.QUERY,
        description="The host in its HTTP request, if it speaks plain HTTP.",
        schema=TEXT,
    ),
)
_NAMES: Final = tuple(parameter.name for parameter in _PARAMETERS)


@operation(
    "GET",
    "/v1/explain",
    summary="What becomes of a visitor, and why",
    description="Which listener answers, which tunnel takes the visitor, which client serves it, and if none "
    "does, what the visitor gets instead. It is decided by what leads visitors, and nobody is connected.",
    rights=Rights.KNOWN,
    parameters=_PARAMETERS,
    answer=Content(description="The explanation.", of=Explanation),
    errors={
        HTTPStatus.BAD_REQUEST: "The question cannot be understood, or has more than one answer.",
        HTTPStatus.NOT_FOUND: "The agent is a client.",
    },
)
async def explain_visitor(ask: Ask) -> Response:
    facts = ask.backend.facts()
    if facts is None:
        message = "this agent is a client, and visitors come to a gateway; ask the gateway"
        raise ApiError(HTTPStatus.NOT_FOUND, message)
    try:
        question = _question(ask.request)
        # With thousands of tunnels it takes a while, in which visitors would wait.
        found = await work(explain, question, facts)
    except ValueError as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, str(error)) from error
    return Response(found.model_dump_json(), media_type=JSON)


def _question(request: Request) -> Question:
    """:raises ValueError: if the query is none."""
    query = request.query_params
    for name in query:
        if name not in _NAMES:
            guess = suggest(name, _NAMES)
            advice = f"did you mean {guess}?" if guess else f"there are {', '.join(_NAMES)}"
            raise ValueError(f"there is no parameter {quote(name)}; {advice}")
        if len(query.getlist(name)) > 1:
            raise ValueError(f"{name} is given twice; give it once")
    if "listen" not in query:
        raise ValueError("listen is missing: say where the visitor connects, for example ?listen=:443")
    return parse_question(query["listen"], sni=query.get("sni"), host=query.get("host"))


OPERATIONS: Final[tuple[Operation, ...]] = (explain_visitor,)
