"""A change that is undone unless it is confirmed, over HTTP.

Rule: what becomes of the change is ``agent.past.confirmation``'s to decide; a request that
comes too late, or while another change is pending, is a conflict.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from starlette.responses import Response

from agent.past.confirmation import NotArmedError, NotPendingError
from schemas.confirmation import ConfirmationReport, ConfirmationRequest

from .body import read_json_text, read_model
from .operation import JSON, Ask, Content, Operation, Rights, operation
from .problems import ApiError

_REPORT: Final = Content(description="How far the last change is.", of=ConfirmationReport)


@operation(
    "GET",
    "/v1/confirmation",
    summary="How far a change is that must be confirmed",
    rights=Rights.KNOWN,
    answer=_REPORT,
)
async def look(ask: Ask) -> Response:
    return _answer(ask.backend.memory.confirmation.report())


@operation(
    "PUT",
    "/v1/confirmation",
    summary="Undo the next change unless it is confirmed",
    description="Asked before the files of the state are replaced. The agent keeps the old files, and puts "
    "them back when the time is up, also if it was stopped meanwhile.",
    rights=Rights.ADMIN,
    takes=Content(description="The files that will be replaced.", of=ConfirmationRequest),
    answer=_REPORT,
    errors={
        HTTPStatus.BAD_REQUEST: "The body is not understood.",
        HTTPStatus.CONFLICT: "The agent could not put the old files back, or another change is pending.",
    },
)
async def arm(ask: Ask) -> Response:
    text = await read_json_text(ask.request)
    request = read_model(ConfirmationRequest, text, how="tidegate apply --confirm-within sends it for you")
    try:
        return _answer(await ask.backend.memory.confirmation.arm(request))
    except NotArmedError as error:
        raise ApiError(HTTPStatus.CONFLICT, f"{error}; nothing was changed") from error


@operation(
    "POST",
    "/v1/confirmation",
    summary="Keep the change that is pending",
    rights=Rights.ADMIN,
    answer=_REPORT,
    errors={HTTPStatus.CONFLICT: "Nothing is pending, or not any more."},
)
async def confirm(ask: Ask) -> Response:
    try:
        return _answer(await ask.backend.memory.confirmation.confirm())
    except NotPendingError as error:
        raise ApiError(HTTPStatus.CONFLICT, str(error)) from error


@operation(
    "DELETE",
    "/v1/confirmation",
    summary="Undo the change that is pending now",
    rights=Rights.ADMIN,
    answer=_REPORT,
    errors={HTTPStatus.CONFLICT: "Nothing is pending, or not any more."},
)
async def undo(ask: Ask) -> Response:
    try:
        return _answer(await ask.backend.memory.confirmation.undo())
    except NotPendingError as error:
        raise ApiError(HTTPStatus.CONFLICT, str(error)) from error


def _answer(report: ConfirmationReport) -> Response:
    return Response(report.model_dump_json(), media_type=JSON)


OPERATIONS: Final[tuple[Operation, ...]] = (look, arm, confirm, undo)
