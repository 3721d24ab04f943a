"""How the agent is doing, for monitors and people.

Rule: these only look. What they say is the agent's own status, and nothing is worked out here.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from starlette.responses import PlainTextResponse, Response

from agent.reports import is_reached
from agent.status_json import status_json
from reconcile.observed import Phase
from schemas.errors import Place
from schemas.status import AgentStatus, ClientAgentStatus, Life, Renewal

from .operation import JSON, TEXT, Ask, Content, Rights, operation
from .problems import ApiError, RequestProblem


@operation(
    "GET",
    "/ping",
    summary="Say pong",
    rights=Rights.ANYBODY,
    answer=Content(description="The word pong.", of=TEXT, media_type="text/plain"),
)
async def ping(ask: Ask) -> Response:
    return PlainTextResponse("pong")


@operation(
    "GET",
    "/healthz",
    summary="Whether the process lives",
    rights=Rights.KNOWN,
    answer=Content(description="It lives.", of=TEXT, media_type="text/plain"),
)
async def health(ask: Ask) -> Response:
    return PlainTextResponse("ok\n")


@operation(
    "GET",
    "/readyz",
    summary="Whether the desired state is in force, and the gateways of a client are reached",
    rights=Rights.KNOWN,
    answer=Content(description="It is so.", of=TEXT, media_type="text/plain"),
    errors={HTTPStatus.SERVICE_UNAVAILABLE: "It is not so; the problems are the reasons."},
)
async def readiness(ask: Ask) -> Response:
    await ask.backend.catch_up()
    status = ask.backend.status()
    if not status.ready:
        reasons = tuple(_reasons(status))
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "the agent is not ready", reasons)
    return PlainTextResponse("ready\n")


@operation(
    "GET",
    "/v1/status",
    summary="How the agent is doing",
    rights=Rights.KNOWN,
    answer=Content(description="That of a gateway, or that of a client.", of=AgentStatus),
)
async def status(ask: Ask) -> Response:
    await ask.backend.catch_up()
    return Response(await status_json(ask.backend.status()), media_type=JSON)


def _reasons(status: AgentStatus) -> Iterator[RequestProblem]:
    source = status.source
    if status.life is not Life.RUNNING:
        yield RequestProblem(message="the agent is stopping, and takes on nothing new")
        return  # what it has closed is as it should be
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
    if isinstance(status, ClientAgentStatus):
        yield from _reasons_of_client(status)
    if source.generation == 0:
        yield RequestProblem(message="no state was accepted yet")
    elif source.observed_generation != source.generation:
        in_force = source.observed_generation or "none before it"
        yield RequestProblem(message=f"generation {source.generation} is not in force yet; {in_force} was")


def _reasons_of_client(status: ClientAgentStatus) -> Iterator[RequestProblem]:
    for link in status.links:
        same = [
            other for other in status.links if (other.gateway, other.session) == (link.gateway, link.session)
        ]
        if link.renewal is not Renewal.DONE or not is_reached(same):
            why = link.message or link.phase.value
            yield RequestProblem(message=f"{link.gateway}, session {link.session}: {why}")
    for tunnel in status.tunnels:
        if not tunnel.in_force:
            message = f"the tunnel {tunnel.name} is not in force at {tunnel.gateway}: {tunnel.message}"
            yield RequestProblem(message=message)


OPERATIONS = (ping, health, readiness, status)
