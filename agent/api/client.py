"""Asking an agent that runs on this machine, through its unix socket.

Rule: whatever can be wrong is told in one line that says what to do next. That no
agent runs is an error of its own, because a command may know how to start one.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx2
from pydantic import TypeAdapter, ValidationError

from schemas.errors import TidegateError
from schemas.quoting import quote
from schemas.status import AgentStatus

#: Seconds that an agent may take to answer.
PATIENCE: Final = 10.0

_STATUS: Final[TypeAdapter[AgentStatus]] = TypeAdapter(AgentStatus)


class AgentUnreachableError(TidegateError):
    """The agent did not answer; the message says why and what to do."""


class NoAgentError(AgentUnreachableError):
    """No agent serves the socket."""


async def fetch_status(socket_path: Path, *, start: str = "tidegate gateway STATE") -> AgentStatus:
    """The status of the agent that serves the socket.

    :param start: the command that would start the agent, for the message that none runs.
    :raises NoAgentError: if no agent runs there.
    :raises AgentUnreachableError: if there is one that cannot be asked.
    """
    body = await _get(socket_path, "/v1/status", start)
    try:
        return _STATUS.validate_json(body)
    except ValidationError as error:
        raise _no_agent_of_ours(socket_path) from error


async def _get(socket_path: Path, path: str, start: str) -> bytes:
    transport = httpx2.AsyncHTTPTransport(uds=str(socket_path))
    # The environment is for programs that browse: a proxy of the network does not know this socket.
    async with httpx2.AsyncClient(transport=transport, timeout=PATIENCE, trust_env=False) as client:
        try:
            answer = await client.get(f"http://agent{path}")
        except httpx2.ConnectError as error:
            raise _explain(socket_path, error, start) from error
        except httpx2.TimeoutException as error:
            message = f"the agent at {socket_path} does not answer within {PATIENCE:g} s: look at its log"
            raise AgentUnreachableError(message) from error
        except httpx2.HTTPError as error:
            # Hanging up before the answer is called a protocol error, and has no class of its own.
            if isinstance(error, httpx2.NetworkError) or "disconnected" in str(error):
                message = f"the agent at {socket_path} hung up: it may be stopping; try again"
                raise AgentUnreachableError(message) from error
            raise _no_agent_of_ours(socket_path) from error
    if answer.status_code != httpx2.codes.OK:
        raise AgentUnreachableError(f"the agent at {socket_path} refuses: {_detail(answer)}")
    return answer.content


def _detail(answer: httpx2.Response) -> str:
    try:
        detail = answer.json()["detail"]
    except (ValueError, LookupError, TypeError):
        detail = answer.text
    return f"{answer.status_code} {quote(str(detail))}"


def _explain(socket_path: Path, error: Exception, start: str) -> AgentUnreachableError:
    cause = next((one for one in _causes(error) if isinstance(one, OSError)), None)
    match cause.errno if cause is not None else None:
        case errno.ENOENT | errno.ECONNREFUSED | errno.ENOTDIR:
            return NoAgentError(f"no agent runs at {socket_path}: start it with: {start}")
        case errno.EACCES | errno.EPERM:
            return AgentUnreachableError(
                f"{socket_path} belongs to another user: run this as the user of the agent, or with sudo"
            )
        case _:
            return AgentUnreachableError(f"{socket_path} cannot be opened: {error}; is it the right path?")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _no_agent_of_ours(socket_path: Path) -> AgentUnreachableError:
    return AgentUnreachableError(
        f"what answers at {socket_path} is not an agent of this version of Tidegate: is it the right path?"
    )
