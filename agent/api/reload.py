"""``POST /v1/reload``: look at the state file now, and say what came of it.

Rule: a state that is refused, or is not in force, is an answer and not an error: 200
says only that the agent has looked.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import anyio
from starlette.responses import Response

from reconcile.loop import ReconcilerStoppedError
from schemas.reload_report import ReloadReport

from .operation import JSON, Ask, Content, Rights, operation
from .problems import ApiError

#: Seconds that a turn may take. It takes milliseconds, and each of its actions at most 30 seconds.
PATIENCE: Final = 60.0


@operation(
    "POST",
    "/v1/reload",
    summary="Look at the state file and the keys now",
    description="Waits until what the file says has been refused or applied, a few seconds also for who is "
    "just writing it, and tries again at once what failed before. Agents also look by themselves; this is "
    "for whoever wants to know what came of it.",
    rights=Rights.ADMIN,
    answer=Content(description="How things stand after that.", of=ReloadReport),
    errors={
        HTTPStatus.GATEWAY_TIMEOUT: "It takes long, and goes on.",
        HTTPStatus.SERVICE_UNAVAILABLE: "The agent is stopping.",
    },
)
async def reload(ask: Ask) -> Response:
    try:
        with anyio.fail_after(PATIENCE):
            report = await ask.backend.reload_and_report()
    except TimeoutError as error:
        message = f"the state was not applied within {PATIENCE:g} s; it goes on, look at the status"
        raise ApiError(HTTPStatus.GATEWAY_TIMEOUT, message) from error
    except ReconcilerStoppedError as error:
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error
    return Response(report.model_dump_json(), media_type=JSON)


OPERATIONS = (reload,)
