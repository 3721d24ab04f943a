"""What other files would change, asked over HTTP.

Rule: a body becomes files here, and what the planner says of them an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from agent.planning import ProposedFile
from reconcile.loop import ReconcilerStoppedError
from schemas.errors import StateError
from schemas.plan_report import PlanReport
from schemas.text import MAX_BYTES

from .body import media_type, read_model, read_text
from .operation import JSON, TEXT, Ask, Content, Operation, Rights, operation
from .problems import ApiError, RequestProblem
from .working import room, work

#: Bytes of the body; a state file of the largest size has room in it, however it is escaped.
LIMIT: Final = 2 * MAX_BYTES

_RAW: Final = {
    "application/yaml": "request.yaml",
    "application/toml": "request.toml",
}


class SentFile(BaseModel):
    """One file. Its name says its syntax, and is how problems call it."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f]+$")
    text: str


class PlanRequest(BaseModel):
    """All files of the state, as they would be."""

    model_config = ConfigDict(extra="forbid")

    files: tuple[SentFile, ...] = Field(min_length=1)


@operation(
    "POST",
    "/v1/plan",
    summary="What other files would change",
    description="Relative paths in the files start at the directory of the agent's state. What was declared "
    "through the API stays as it is. Nothing is changed.",
    rights=Rights.ADMIN,
    takes=(
        Content(description="The files.", of=PlanRequest),
        *(Content(description="The state as one file.", of=TEXT, media_type=kind) for kind in _RAW),
    ),
    answer=Content(description="The changes.", of=PlanReport),
    errors={
        HTTPStatus.BAD_REQUEST: "The body is not understood.",
        HTTPStatus.UNPROCESSABLE_ENTITY: "The files would be refused, for the problems in the answer.",
        HTTPStatus.SERVICE_UNAVAILABLE: "The agent is stopping.",
    },
)
async def plan(ask: Ask) -> Response:
    files = await _files(ask)
    try:
        async with room():
            report = await ask.backend.plan(files)
    except StateError as error:
        problems = [RequestProblem.of(problem) for problem in error.problems]
        message = "the agent would refuse these files"
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, message, problems) from error
    except ReconcilerStoppedError as error:
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error
    return Response(await work(report.model_dump_json), media_type=JSON)


async def _files(ask: Ask) -> Sequence[ProposedFile]:
    kind = media_type(ask.request)
    if kind not in (JSON, *_RAW):
        message = f"the body is said to be {kind}; send one of {', '.join((JSON, *_RAW))}, and say which"
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message)
    text = await read_text(ask.request, limit=LIMIT)
    if kind in _RAW:
        return [ProposedFile(name=_RAW[kind], text=text)]
    how = 'send {"files": [{"name": "gateway.yaml", "text": "..."}]}'
    sent = await work(partial(read_model, PlanRequest, text, how=how))
    return [ProposedFile(name=file.name, text=file.text) for file in sent.files]


OPERATIONS: Final[tuple[Operation, ...]] = (plan,)
