"""A whole gateway and a whole client in this process, run from files with real keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio

from agent.client.role import Client
from agent.gateway.role import Gateway
from agent.keys.pki import init_authority, issue_client, issue_gateway
from schemas.names import ListenAddress

from .peers import free_listen

CLIENT: Final = "homelab"


class Files:
    """The state files of a gateway and a client in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.control = free_listen()
        init_authority(directory / "pki")
        issue_gateway(directory / "pki", hosts=[self.control.host])
        issue_client(directory / "pki", client_id=CLIENT)

    def gateway(self, *tunnels: ListenAddress, more: str = "", end: str = "") -> Path:
        """Tunnels ``t0``, ``t1``, … to the service ``web``; ``more`` goes below ``gateway``."""
        path = self.directory / "gateway.yaml"
        lines = "".join(
            f'  - {{name: t{number}, listen: "{listen}", client: {CLIENT}, service: web}}\n'
            for number, listen in enumerate(tunnels)
        )
        path.write_text(
            f'tidegate: 1\ngateway:\n  name: gw1\n  control: "{self.control}"\n'
            "  tls: {cert: pki/gateway.crt, key: pki/gateway.key, client_ca: pki/ca.crt}\n"
            f"{more}tunnels:\n{lines or '  []'}\n{end}"
        )
        return path

    def client(self, target: str, *, name: str = "web") -> Path:
        path = self.directory / "client.yaml"
        path.write_text(
            f'tidegate: 1\nclient:\n  id: {CLIENT}\n  gateways: "{self.control}"\n'
            f"  tls: {{cert: pki/{CLIENT}.crt, key: pki/{CLIENT}.key, ca: pki/ca.crt}}\n"
            f'services:\n  {name}: "{target}"\n'
        )
        return path


@asynccontextmanager
async def running(agent: Gateway | Client) -> AsyncIterator[None]:
    """Run an agent from when it has started until the block ends."""
    async with anyio.create_task_group() as tasks:
        await tasks.start(agent.run)
        yield
        tasks.cancel_scope.cancel()
