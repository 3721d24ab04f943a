"""Asking an agent that runs on this machine, through its unix socket.

Rule: whatever can be wrong is told in one line that says what to do next. That no
agent runs is an error of its own, because a command may know how to start one.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import httpx2
from pydantic import BaseModel, TypeAdapter, ValidationError

from schemas.confirmation import ConfirmationReport, ConfirmationRequest
from schemas.errors import Place, Problem, StateError, TidegateError
from schemas.explanation import Explanation
from schemas.history_report import GenerationReport, HistoryReport
from schemas.plan_report import PlanReport
from schemas.quoting import quote
from schemas.reload_report import ReloadReport
from schemas.status import AgentStatus

#: Seconds that an agent may take to answer.
PATIENCE: Final = 10.0

#: The same where it has files of some megabytes to read, or something to bring into force first.
LONG_PATIENCE: Final = 75.0

_Answer = TypeVar("_Answer")


class _ToldProblem(BaseModel):
    """One of the problems in an answer, as ``problems`` writes it."""

    text: str
    file: str | None
    line: int | None
    col: int | None

    def to_problem(self) -> Problem:
        """The problem again; what it has to do with another place stays a part of its message."""
        if self.file is None:
            return Problem(None, self.text)
        place = Place(self.file, self.line or 1, self.col or 1)
        return Problem(place, self.text.removeprefix(f"{place}: "))


class _Refusal(BaseModel):
    """An answer that refuses state files."""

    problems: tuple[_ToldProblem, ...]


_STATUS: Final[TypeAdapter[AgentStatus]] = TypeAdapter(AgentStatus)
_PLAN: Final = TypeAdapter(PlanReport)
_RELOAD: Final = TypeAdapter(ReloadReport)
_HISTORY: Final = TypeAdapter(HistoryReport)
_GENERATION: Final = TypeAdapter(GenerationReport)
_CONFIRMATION: Final = TypeAdapter(ConfirmationReport)
_EXPLANATION: Final = TypeAdapter(Explanation)


class AgentUnreachableError(TidegateError):
    """The agent did not answer; the message says why and what to do."""


class NoAgentError(AgentUnreachableError):
    """No agent serves the socket."""


class WrongSocketError(AgentUnreachableError):
    """The socket cannot be opened, or is not an agent's; to try again does not help."""


class RefusedError(AgentUnreachableError):
    """The agent answered with an error. ``detail`` is what it says about it."""

    def __init__(self, socket_path: Path, status: int, detail: str) -> None:
        super().__init__(f"the agent at {socket_path} refuses: {status} {quote(detail)}")
        self.status = status
        self.detail = detail


async def fetch_status(socket_path: Path, *, start: str = "tidegate gateway STATE") -> AgentStatus:
    """The status of the agent that serves the socket.

    :param start: the command that would start the agent, for the message that none runs.
    :raises NoAgentError: if no agent runs there.
    :raises AgentUnreachableError: if there is one that cannot be asked.
    """
    answer = await _ask(socket_path, "GET", "/v1/status", start=start)
    return _understood(socket_path, answer, _STATUS)


async def fetch_plan(
    socket_path: Path,
    files: Sequence[tuple[str, str]],
    *,
    start: str = "tidegate gateway STATE",
    patience: float = LONG_PATIENCE,
) -> PlanReport:
    """What files would change in the agent that serves the socket.

    :param files: each by its name and its text; all that its state would be.
    :raises StateError: if the agent would refuse them.
    :raises NoAgentError: if no agent runs there.
    :raises AgentUnreachableError: if there is one that cannot be asked.
    """
    body = {"files": [{"name": name, "text": text} for name, text in files]}
    answer = await _ask(socket_path, "POST", "/v1/plan", start=start, body=body, patience=patience)
    return _understood(socket_path, answer, _PLAN)


async def reload(socket_path: Path, *, start: str = "tidegate gateway STATE") -> ReloadReport:
    """Let the agent look at its state file now; how things stand when it has applied what it read.

    :raises NoAgentError: if no agent runs there.
    :raises AgentUnreachableError: if there is one that cannot be asked, or does not come to an end.
    """
    answer = await _ask(socket_path, "POST", "/v1/reload", start=start, patience=LONG_PATIENCE)
    return _understood(socket_path, answer, _RELOAD)


async def fetch_explanation(
    socket_path: Path,
    listen: str,
    *,
    sni: str | None = None,
    host: str | None = None,
    start: str = "tidegate gateway STATE",
) -> Explanation:
    """What becomes of a visitor of the gateway that serves the socket.

    :raises RefusedError: if the gateway does not understand the question, or is a client.
    :raises AgentUnreachableError: if there is no answer.
    """
    asked = {"listen": listen, "sni": sni, "host": host}
    query = {name: value for name, value in asked.items() if value is not None}
    answer = await _ask(socket_path, "GET", "/v1/explain", start=start, query=query)
    return _understood(socket_path, answer, _EXPLANATION)


async def fetch_history(socket_path: Path, *, start: str = "tidegate gateway STATE") -> HistoryReport:
    """The states that the agent has accepted.

    :raises AgentUnreachableError: as the others.
    """
    answer = await _ask(socket_path, "GET", "/v1/history", start=start)
    return _understood(socket_path, answer, _HISTORY)


async def fetch_generation(
    socket_path: Path, number: int, *, start: str = "tidegate gateway STATE"
) -> GenerationReport:
    """The files of a state that the agent has accepted.

    :raises RefusedError: 404 if it is not kept.
    :raises AgentUnreachableError: as the others.
    """
    answer = await _ask(socket_path, "GET", f"/v1/history/{number}", start=start, patience=LONG_PATIENCE)
    return _understood(socket_path, answer, _GENERATION)


async def fetch_confirmation(
    socket_path: Path, *, start: str = "tidegate gateway STATE"
) -> ConfirmationReport:
    """How far a change is that must be confirmed.

    :raises AgentUnreachableError: as the others.
    """
    answer = await _ask(socket_path, "GET", "/v1/confirmation", start=start)
    return _understood(socket_path, answer, _CONFIRMATION)


async def arm_confirmation(
    socket_path: Path, request: ConfirmationRequest, *, start: str = "tidegate gateway STATE"
) -> ConfirmationReport:
    """Let the agent undo a change that is about to be made, unless it is confirmed.

    :raises RefusedError: 409 if it could not, or another one is pending.
    :raises AgentUnreachableError: as the others.
    """
    body = request.model_dump(mode="json")
    answer = await _ask(socket_path, "PUT", "/v1/confirmation", start=start, body=body)
    return _understood(socket_path, answer, _CONFIRMATION)


async def confirm(socket_path: Path, *, start: str = "tidegate gateway STATE") -> ConfirmationReport:
    """Keep the change that is pending.

    :raises RefusedError: 409 if there is none.
    :raises AgentUnreachableError: as the others.
    """
    answer = await _ask(socket_path, "POST", "/v1/confirmation", start=start)
    return _understood(socket_path, answer, _CONFIRMATION)


async def undo_change(socket_path: Path, *, start: str = "tidegate gateway STATE") -> ConfirmationReport:
    """Undo the change that is pending now.

    :raises RefusedError: 409 if there is none.
    :raises AgentUnreachableError: as the others.
    """
    answer = await _ask(socket_path, "DELETE", "/v1/confirmation", start=start, patience=LONG_PATIENCE)
    return _understood(socket_path, answer, _CONFIRMATION)


def _understood(socket_path: Path, answer: httpx2.Response, model: TypeAdapter[_Answer]) -> _Answer:
    try:
        return model.validate_json(answer.content)
    except ValidationError as error:
        raise _no_agent_of_ours(socket_path) from error


async def _ask(
    socket_path: Path,
    method: str,
    path: str,
    *,
    start: str,
    body: object = None,
    query: Mapping[str, str] | None = None,
    patience: float | None = None,
) -> httpx2.Response:
    """The answer, which is a success.

    :param body: sent as JSON, unless it is None.
    :param patience: seconds that the answer may take; by default, those of a question.
    :raises StateError: if the agent refuses state files.
    :raises AgentUnreachableError: if there is no answer, or another error.
    """
    patience = PATIENCE if patience is None else patience
    transport = httpx2.AsyncHTTPTransport(uds=str(socket_path))
    # The environment is for programs that browse: a proxy of the network does not know this socket.
    async with httpx2.AsyncClient(transport=transport, timeout=patience, trust_env=False) as client:
        try:
            answer = await client.request(method, f"http://agent{path}", params=query, json=body)
        except httpx2.ConnectError as error:
            raise _explain(socket_path, error, start) from error
        except httpx2.TimeoutException as error:
            message = f"the agent at {socket_path} does not answer within {patience:g} s: look at its log"
            raise AgentUnreachableError(message) from error
        except httpx2.HTTPError as error:
            # Hanging up before the answer is called a protocol error, and has no class of its own.
            if isinstance(error, httpx2.NetworkError) or "disconnected" in str(error):
                message = f"the agent at {socket_path} hung up: it may be stopping; try again"
                raise AgentUnreachableError(message) from error
            raise _no_agent_of_ours(socket_path) from error
    if answer.status_code == httpx2.codes.UNPROCESSABLE_CONTENT:
        raise StateError(_problems(answer))
    if answer.status_code != httpx2.codes.OK:
        raise RefusedError(socket_path, answer.status_code, _detail(answer))
    return answer


def _problems(answer: httpx2.Response) -> tuple[Problem, ...]:
    """The problems of state files in an answer that refuses them."""
    try:
        refusal = _Refusal.model_validate_json(answer.content)
    except ValidationError:
        return (Problem(None, _detail(answer)),)
    return tuple(problem.to_problem() for problem in refusal.problems)


def _detail(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, LookupError, TypeError):
        return answer.text


def _explain(socket_path: Path, error: Exception, start: str) -> AgentUnreachableError:
    cause = next((one for one in _causes(error) if isinstance(one, OSError)), None)
    match cause.errno if cause is not None else None:
        case errno.ENOENT | errno.ECONNREFUSED | errno.ENOTDIR:
            return NoAgentError(f"no agent runs at {socket_path}: start it with: {start}")
        case errno.EACCES | errno.EPERM:
            return WrongSocketError(
                f"{socket_path} belongs to another user: run this as the user of the agent, or with sudo"
            )
        case _:
            return WrongSocketError(f"{socket_path} cannot be opened: {error}; is it the right path?")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _no_agent_of_ours(socket_path: Path) -> AgentUnreachableError:
    return WrongSocketError(
        f"what answers at {socket_path} is not an agent of this version of Tidegate: is it the right path?"
    )
