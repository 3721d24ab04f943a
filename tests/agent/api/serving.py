"""The API on real sockets, and callers that speak HTTP or whatever a test wants to hear."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import httpx2
from starlette.types import ASGIApp

from agent.api.admin_socket import admin_socket
from agent.api.app import create_app
from agent.api.identity import ByCertificate, on_unix_socket
from agent.api.loading import LoadApp
from agent.api.server import serve_api
from agent.keys.certificates import Credentials
from tests.support import pki
from transport.tls import client_context, server_context

from .backend import FakeGateway

PATIENCE = 10  # seconds until a test that waits for something gives up: a guard, not a measure


@asynccontextmanager
async def on_unix(app: ASGIApp, path: Path) -> AsyncIterator[None]:
    """The app on a unix socket, stopped at the end."""
    async with on_unix_loading(lambda: app, path):
        yield


@asynccontextmanager
async def on_unix_loading(load: LoadApp, path: Path) -> AsyncIterator[None]:
    """The same, of an app that is loaded when somebody calls."""
    with admin_socket(path) as listening:
        async with anyio.create_task_group() as tasks:
            await tasks.start(partial(serve_api, load, listening, identify=on_unix_socket))
            yield
            tasks.cancel_scope.cancel()


def tls_context(*, signed_by: Credentials | None = None) -> ssl.SSLContext:
    """The gateway's, as a management port has it."""
    ours = pki.gateway(signed_by=signed_by)
    return server_context(
        cert=ours.certificate, key=ours.key, ca=(signed_by or pki.authority()).certificate, alpn=["http/1.1"]
    )


def caller_context(credentials: Credentials) -> ssl.SSLContext:
    """A caller's, with its certificate."""
    return client_context(
        cert=credentials.certificate,
        key=credentials.key,
        ca=pki.authority().certificate,
        alpn=["http/1.1"],
    )


@asynccontextmanager
async def on_tls(gateway: FakeGateway, *, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The API of the gateway on a management port; the port. Stopped at the end."""
    listening = socket.create_server(("127.0.0.1", 0))
    port: int = listening.getsockname()[1]
    async with anyio.create_task_group() as tasks:
        serve = partial(
            serve_api,
            partial(create_app, gateway),
            listening,
            context=context or tls_context(),
            identify=ByCertificate(gateway.admission),
        )
        await tasks.start(serve)
        yield port
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def calling(path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """An HTTP client of the unix socket."""
    transport = httpx2.AsyncHTTPTransport(uds=str(path))
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://agent", trust_env=False, timeout=PATIENCE
    ) as client:
        yield client


@asynccontextmanager
async def calling_tls(port: int, credentials: Credentials) -> AsyncIterator[httpx2.AsyncClient]:
    """An HTTP client of a management port."""
    async with httpx2.AsyncClient(
        verify=caller_context(credentials),
        base_url=f"https://127.0.0.1:{port}",
        trust_env=False,
        timeout=PATIENCE,
    ) as client:
        yield client


@dataclass
class Answer:
    """One answer as it was on the wire."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    leftover: bytes = field(default=b"", repr=False)

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json"
        value: dict[str, Any] = json.loads(self.body)
        assert value["status"] == self.status
        return value


async def read_all(stream: anyio.abc.ByteReceiveStream) -> bytes:
    """Everything until the other side closes, however it does."""
    data = b""
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                data += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return data


async def read_answer(stream: anyio.abc.ByteReceiveStream, data: bytes = b"") -> Answer:
    """One answer; ``data`` is what was read before."""
    with anyio.fail_after(PATIENCE):
        while b"\r\n\r\n" not in data:
            data += await stream.receive()
        head, _, rest = data.partition(b"\r\n\r\n")
        status_line, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", 0))
        while len(rest) < length:
            rest += await stream.receive()
    return Answer(int(status_line.split()[1]), headers, rest[:length], rest[length:])


def problem(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    value: dict[str, Any] = answer.json()
    assert (value["type"], value["status"]) == ("about:blank", answer.status_code)
    return value


def texts(answer: httpx2.Response) -> list[str]:
    return [one["text"] for one in problem(answer)["problems"]]
