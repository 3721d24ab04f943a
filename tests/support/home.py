"""A client's links in this process, without state file and API."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

import anyio

from agent.actuator import ResourceActuator
from agent.client.connector import GatewayLinks
from agent.client.services import Services
from agent.keys.certificates import Credentials
from agent.process.spawn import IsolatedTasks
from reconcile.desired import Kind, LinkSpec, ServicesSpec, Spec, WayOut, key_of
from reconcile.plan import Action, Verb
from schemas.gateway_address import GatewayAddress
from schemas.names import ClientId, HostPort, ListenAddress, ServiceEntry, ServiceName, parse_target
from schemas.references import InlinePem
from schemas.state import TlsClient
from schemas.status import LinkStatus

from . import pki
from .gateway_parts import QUIET
from .journal import PATIENCE

HOMELAB: Final = ClientId("homelab")
NOW: Final = datetime(2026, 5, 4, 12, tzinfo=UTC)


def client_tls(own: Credentials | None = None, authority: Credentials | None = None) -> TlsClient:
    own = own or pki.client()
    ca = authority or pki.authority()
    return TlsClient(
        cert=InlinePem(own.certificate.decode()),
        key=InlinePem(own.key.decode()),
        ca=InlinePem(ca.certificate.decode()),
    )


def link_to(
    address: ListenAddress | HostPort,
    *,
    tls: TlsClient | None = None,
    client_id: str = "homelab",
    session: int = 1,
    way_out: WayOut | None = None,
) -> LinkSpec:
    return LinkSpec(
        gateway=HostPort(address.host, address.port),
        session=session,
        client_id=ClientId(client_id),
        tls=tls or client_tls(),
        timing=QUIET,
        way_out=way_out or WayOut(),
    )


class Dns:
    """What names stand for. A name that is not there does not exist."""

    def __init__(self, **addresses: Sequence[str]) -> None:
        self._addresses = {name.replace("_", "."): tuple(found) for name, found in addresses.items()}
        self.asked: list[str] = []

    def set(self, host: str, *addresses: str) -> None:
        """From now on the name stands for these; without any, it does not exist."""
        self._addresses[host] = addresses

    async def look_up(self, host: str) -> tuple[str, ...]:
        self.asked.append(host)
        found = self._addresses.get(host)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "a test")
        return found


class Home:
    """A client."""

    def __init__(self, spawn: IsolatedTasks, dns: Dns, order: Sequence[GatewayAddress]) -> None:
        self.services = Services()
        self.drain_limit = PATIENCE
        self.links = GatewayLinks(
            self.services,
            spawn,
            lambda: NOW,
            lambda: self.drain_limit,
            order=lambda: order,
            look_up=dns.look_up,
        )
        self.services.on_change = self.links.services_changed
        self.actuator = ResourceActuator({Kind.LINK: self.links}, lambda: None)

    async def put(self, *specs: Spec) -> None:
        for spec in specs:
            key = key_of(spec)
            verb = Verb.UPDATE if key in self.actuator.observe() else Verb.OPEN
            await self.actuator.perform(Action(verb=verb, key=key, spec=spec))

    async def drop(self, spec: Spec) -> None:
        await self.actuator.perform(Action(verb=Verb.CLOSE, key=key_of(spec), spec=None))

    async def offer(self, **targets: str) -> None:
        found = tuple(
            (ServiceName(name), ServiceEntry(parse_target(text))) for name, text in sorted(targets.items())
        )
        await self.services.update(ServicesSpec(targets=found))

    @property
    def link(self) -> LinkStatus:
        (status,) = self.links.status()
        return status

    @property
    def phases(self) -> dict[str, str]:
        """Of each link, by its address, or by its gateway where it has none."""
        return {link.address or link.gateway: link.phase.value for link in self.links.status()}


@asynccontextmanager
async def home(dns: Dns | None = None, order: Sequence[GatewayAddress] = ()) -> AsyncIterator[Home]:
    """A client without links, until the block ends.

    :param order: the gateways as its file has them.
    """
    async with anyio.create_task_group() as tasks:
        made = Home(IsolatedTasks(tasks), dns or Dns(), order)
        try:
            yield made
        finally:
            with anyio.CancelScope(shield=True):
                await made.actuator.close_all()
            tasks.cancel_scope.cancel()
