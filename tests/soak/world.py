"""The gateway, its two clients and the network between them, as real processes.

Rule: everything that is started, asked or written about an agent is here; what is done to them, and when,
is for ``chaos`` to say. The steady client is never killed, so that its memory can be watched for the whole
run; the doomed one is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio.to_thread

from agent.api.client import AgentUnreachableError, fetch_status
from schemas.status import AgentStatus, ClientAgentStatus, GatewayStatus
from tests.support.cutting import CuttingProxy, cutting_proxy
from tests.support.site import STOCK_LOOP, Agent, Site, site

from .census import Census, take_census
from .doors import BOTH, DOOMED, GATEWAY, PORTS, STEADY, Door, all_doors
from .polling import until

AGENTS: Final = (GATEWAY, STEADY, DOOMED)
_SHOWN_LINES: Final = 15  # of a log, where something hangs
_EXPECTED_ERROR: Final = "state_refused"  # what is said of a state file that was broken on purpose
_WATCHED: Final = Path(__file__).with_name("watched.py")
# Reconnecting backs off to half a minute; to wait longer than twice that means that it does not happen.
_RECONNECTED: Final = 90.0
_REACTED: Final = 60.0  # seconds for an agent to follow its state file, which takes it one


@dataclass(kw_only=True)
class World:
    """What runs."""

    site: Site
    doors: tuple[Door, ...]
    networks: Mapping[str, CuttingProxy]  # by client
    sessions: int
    targets: Mapping[str, str]
    settings: Mapping[str, Any]
    agents: dict[str, Agent] = field(default_factory=dict)  # by name; a gateway or client that runs now
    gone: list[tuple[str, Agent]] = field(default_factory=list)  # those that were killed

    @property
    def gateway(self) -> Agent:
        return self.agents[GATEWAY]

    # State files

    def write_gateway(self, *extra: Mapping[str, Any]) -> Path:
        tunnels = [*(door.entry() for door in self.doors), *(dict(entry) for entry in extra)]
        return self.site.gateway_file(
            tunnels, clients=[{"id": name} for name in BOTH], peek_timeout="1s", **self.settings
        )

    def write_client(self, client: str, **extra: str) -> Path:
        settings = dict(self.settings)
        if self.sessions > 1:
            settings["sessions"] = self.sessions
        gateways = [self.dialed(client)]
        return self.site.client_file({**self.targets, **extra}, id=client, gateways=gateways, **settings)

    def dialed(self, client: str) -> str:
        """Where a client finds its gateway: at the network, which leads there."""
        return self.networks[client].listen

    # Processes

    async def start(self, name: str) -> None:
        """Start an agent and wait until it runs."""
        role = GATEWAY if name == GATEWAY else "client"
        state = self.site.directory / f"{name}.yaml"
        # What the garbage collector has to close for us is told on stderr, see ``complaints``.
        python = (sys.executable, "-P", "-W", "always::ResourceWarning")
        inside = (*python, str(_WATCHED), str(self._told(name)))
        start = partial(self.site.start, role, state, inside=inside)
        self.agents[name] = await anyio.to_thread.run_sync(start)

    async def kill(self, name: str) -> None:
        """kill -9."""
        agent = self.agents[name]
        await anyio.to_thread.run_sync(agent.kill)
        self.gone.append((name, agent))

    async def stop(self, name: str) -> int:
        """Ask an agent to stop; its exit status."""
        return await anyio.to_thread.run_sync(self.agents[name].stop)

    async def connected(self, client: str, *, after: int = 0, sessions: int | None = None) -> None:
        """Wait until so many sessions, or all, have begun since that line of the gateway's log.

        :raises NotSoonError: if the client does not come back.
        """
        condition = partial(self._has_logged, "client_connected", client, after, sessions or self.sessions)
        await until(condition, f"{client} connects", patience=_RECONNECTED)

    async def disconnected(self, client: str, *, after: int) -> None:
        """Wait until all sessions of a client have ended since that line of the gateway's log."""
        condition = partial(self._has_logged, "client_disconnected", client, after, self.sessions)
        await until(condition, f"{client} is missed", patience=_RECONNECTED)

    async def _has_logged(self, event: str, client: str, after: int, count: int) -> bool:
        lines = self.gateway.lines[after:]
        found = [line for line in lines if line.get("event") == event and line.get("client") == client]
        return len(found) >= count

    # What they say of themselves

    async def gateway_status(self) -> GatewayStatus:
        status = await fetch_status(self.gateway.socket_path)
        assert isinstance(status, GatewayStatus)
        return status

    async def client_status(self, client: str) -> ClientAgentStatus:
        status = await fetch_status(self.agents[client].socket_path)
        assert isinstance(status, ClientAgentStatus)
        return status

    async def open_connections(self) -> dict[str, int]:
        """How many visitors each agent believes to have."""
        gateway = await self.gateway_status()
        found = {GATEWAY: sum(tunnel.traffic.open for tunnel in gateway.tunnels)}
        found[GATEWAY] += sum(client.traffic.open for client in gateway.clients)
        for client in BOTH:
            found[client] = sum(
                service.traffic.open for service in (await self.client_status(client)).services
            )
        return found

    async def census(self, name: str) -> Census:
        return await take_census(self.agents[name].process.pid, self._told(name))

    async def portrait(self, name: str) -> str:
        """All that an agent can tell about itself now, for who has to find out why something hangs."""
        try:
            status = _in_short(await fetch_status(self.agents[name].socket_path))
        except AgentUnreachableError as error:
            status = str(error)
        census = await self.census(name)
        held = f"descriptors {dict(census.descriptors)}, tasks {dict(census.tasks)}"
        last = [json.dumps(line) for line in self.agents[name].lines[-_SHOWN_LINES:]]
        return "\n".join((f"--- {name}", status, held, *census.connections, "its last words:", *last))

    def _told(self, name: str) -> Path:
        return self.site.directory / f"{name}.living.json"

    # Waiting for a state file to be in force

    async def tunnel_is(self, name: str, *, there: bool) -> None:
        async def condition() -> bool:
            status = await self.gateway_status()
            return (name in [tunnel.name for tunnel in status.tunnels]) is there and status.ready

        await until(condition, f"tunnel {name} is {'there' if there else 'gone'}", patience=_REACTED)

    async def service_is(self, client: str, name: str, *, there: bool) -> None:
        async def condition() -> bool:
            gateway = await self.gateway_status()
            offered = [one.services for one in gateway.clients if one.id == client]
            return (name in offered[0]) is there

        await until(condition, f"service {name} is {'there' if there else 'gone'}", patience=_REACTED)

    async def problems_are(self, *, there: bool) -> None:
        async def condition() -> bool:
            return bool((await self.gateway_status()).source.problems) is there

        await until(condition, "the gateway says what it thinks of its file", patience=_REACTED)

    def complaints(self) -> Iterator[str]:
        """Lines that no agent may ever write: errors, and what is no log line at all."""
        for name, agent in (*self.gone, *self.agents.items()):
            for line in agent.lines:
                is_error = line.get("level") in ("error", "critical") and line.get("event") != _EXPECTED_ERROR
                if is_error or line.get("event") == "not JSON":
                    yield f"the log of {name} says {line}"


def _in_short(status: AgentStatus) -> str:
    """What of a status may say why something hangs."""
    wanted = {
        "links": {"__all__": {"session", "phase", "message"}},
        "clients": {"__all__": {"id", "connected", "sessions", "traffic"}},
        "tunnels": {"__all__": {"name", "traffic"}},
        "services": {"__all__": {"name", "last_error", "traffic"}},
    }
    return status.model_dump_json(include=wanted)


@contextmanager
def world(
    directory: Path,
    address: str,
    targets: Mapping[str, str],
    *,
    sessions: int,
    stock_loop: bool,
    settings: Mapping[str, Any],
) -> Iterator[World]:
    """A site with its networks, and no agent yet. Everything is stopped at the end."""
    options: Sequence[str] = (STOCK_LOOP,) if stock_loop else ()
    with ExitStack() as stack:
        place = stack.enter_context(site(directory, address, options=options))
        networks = {
            client: stack.enter_context(cutting_proxy(place.listen(), place.control)) for client in BOTH
        }
        doors = all_doors([place.listen() for _ in range(PORTS)])
        yield World(
            site=place, doors=doors, networks=networks, sessions=sessions, targets=targets, settings=settings
        )
