"""A gateway and a client in this process, each of which can be told to stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
from anyio.abc import TaskStatus

from agent.client.role import Client
from agent.gateway.role import Gateway
from schemas.names import ListenAddress

from .journal import Journal
from .peers import Peer, Service, free_listen, service, visit
from .roles import CLIENT, Files


def drain_of(file: Path, section: str, limit: str) -> Path:
    """The same file, with that limit."""
    file.write_text(file.read_text().replace(f"{section}:\n", f"{section}:\n  drain: {limit}\n", 1))
    return file


class Place:
    """A gateway, a client with one service, and a task for each that ends by itself."""

    def __init__(self, gateway: Gateway, client: Client, listen: ListenAddress, web: Service) -> None:
        self.gateway = gateway
        self.client = client
        self.listen = listen
        self.web = web
        self.ended: list[str] = []

    @asynccontextmanager
    async def visitor(self) -> AsyncIterator[tuple[Peer, Peer]]:
        """Somebody who is served, and the service's end."""
        async with visit(self.listen) as visitor:
            await visitor.send(b"question")
            answering = await self.web.accept()
            assert await answering.receive_exactly(8) == b"question"
            yield visitor, answering

    async def run(self, role: Gateway | Client, *, task_status: TaskStatus[None]) -> None:
        await role.run(task_status=task_status)
        self.ended.append(type(role).__name__)


@asynccontextmanager
async def place(files: Files, journal: Journal, *, limit: str = "600s") -> AsyncIterator[Place]:
    listen = free_listen()
    gateway = Gateway(drain_of(files.gateway(listen), "gateway", limit))
    with service() as web:
        client = Client(drain_of(files.client(web.target), "client", limit))
        made = Place(gateway, client, listen, web)
        async with anyio.create_task_group() as tasks:
            await tasks.start(partial(made.run, gateway))
            await tasks.start(partial(made.run, client))
            await journal.wait_for("client_connected", client=CLIENT)
            yield made
            tasks.cancel_scope.cancel()
