"""The states that the agent has accepted, asked over HTTP.

Rule: whoever may look may see which there were. Their files may hold inline keys, and
are for those who may change them.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from starlette.responses import Response

from agent.past.report import generation_report, history_report
from reconcile.history import NotKeptError
from schemas.history_report import GenerationReport, HistoryReport

from .operation import JSON, Ask, Content, Operation, Parameter, Rights, Where, operation
from .problems import ApiError
from .working import work

_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


@operation(
    "GET",
    "/v1/history",
    summary="The last states that were accepted",
    description="The newest is the first. Their numbers go on when the agent is started again.",
    rights=Rights.KNOWN,
    answer=Content(description="The states, without their files.", of=HistoryReport),
    errors={HTTPStatus.INTERNAL_SERVER_ERROR: "The directory cannot be read."},
)
async def history(ask: Ask) -> Response:
    source = ask.backend.status().source
    kept = ask.backend.memory.history
    try:
        report = await work(history_report, kept.directory, source.generation, source.observed_generation)
    except OSError as error:
        message = f"{kept.directory} cannot be read: {error.strerror or error}"
        raise ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, message) from error
    warnings = tuple(dict.fromkeys((*report.warnings, *kept.warnings)))
    return Response(report.model_copy(update={"warnings": warnings}).model_dump_json(), media_type=JSON)


@operation(
    "GET",
    "/v1/history/{generation}",
    summary="The files of a state that was accepted",
    rights=Rights.ADMIN,
    parameters=(
        Parameter(
            name="generation",
            where=Where.PATH,
            description="Its number.",
            required=True,
            schema={"type": "integer", "minimum": 1},
        ),
    ),
    answer=Content(description="Its files, byte for byte.", of=GenerationReport),
    errors={HTTPStatus.NOT_FOUND: "It is not kept, or damaged."},
)
async def generation(ask: Ask) -> Response:
    text: str = ask.request.path_params["generation"]
    try:
        number = int(text) if _NUMBER.fullmatch(text) else 0
        report = await work(generation_report, ask.backend.memory.history.directory, number)
    except NotKeptError as error:
        raise ApiError(HTTPStatus.NOT_FOUND, str(error)) from error
    return Response(await work(report.model_dump_json), media_type=JSON)


OPERATIONS: Final[tuple[Operation, ...]] = (history, generation)
