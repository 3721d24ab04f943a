"""What surrounds the agents in the demo: services at home, visitors, and ports that are free.

Rule: everything here is ordinary software that knows nothing of Tidegate.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from typing import Final

import anyio
import httpx2
from anyio.abc import SocketAttribute, SocketStream, TaskStatus

from schemas.errors import TidegateError

HOST: Final = "127.0.0.1"

_PATIENCE: Final = 10.0  # seconds for one request
_LONGEST_HEAD: Final = 64 * 1024


class VisitError(TidegateError):
    """A visitor did not get what they came for."""


def free_ports(count: int) -> tuple[int, ...]:
    """Ports of this machine that nobody uses now. Each is held until all are chosen: none comes twice."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return tuple(one.getsockname()[1] for one in sockets)


async def visit(address: str) -> str:
    """What a visitor reads at a public address.

    :raises VisitError: if it is anything but a page.
    """
    # The environment may name a proxy, which would never find this machine's own addresses.
    async with httpx2.AsyncClient(timeout=_PATIENCE, trust_env=False) as client:
        try:
            answer = await client.get(f"http://{address}/")
        except httpx2.HTTPError as error:
            raise VisitError(f"GET http://{address}/ failed: {str(error) or type(error).__name__}") from error
    if answer.status_code != httpx2.codes.OK:
        raise VisitError(f"GET http://{address}/ was answered {answer.status_code} {answer.text}")
    return answer.text.strip()


async def is_open(address: str) -> bool:
    """Whether anybody listens there."""
    host, _, port = address.rpartition(":")
    try:
        async with await anyio.connect_tcp(host, int(port)):
            return True
    except OSError:
        return False


async def serve_greetings(name: str, *, task_status: TaskStatus[int]) -> None:
    """An HTTP service that greets whoever comes. Started with the port that it got."""

    async def greet(visitor: SocketStream) -> None:
        async with visitor:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                head = b""
                while b"\r\n\r\n" not in head and len(head) < _LONGEST_HEAD:
                    head += await visitor.receive()
                body = f"Hello from the {name}, which listens on {HOST} only.\n".encode()
                await visitor.send(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n"
                    b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
                )

    async with await anyio.create_tcp_listener(local_host=HOST, local_port=0) as listener:
        port: int = listener.extra(SocketAttribute.local_port)  # noqa: S610 - this is not Django
        task_status.started(port)
        await listener.serve(greet)
