"""A gateway without ports: a real loop and real files, whose actuator only pretends.

Rule: everything between the API and the actuator is the real thing, so that a test
of the API is a test of how a declaration comes into force.
"""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio

from agent.api.declared import DeclaredTunnels
from agent.events import Events
from agent.gateway.explain import Facts
from agent.past.memory import Memory, understood
from agent.planning import ProposedFile, plan_files
from agent.reloading import reload_and_report
from agent.turn_events import TurnEvents
from reconcile.conditions import ClientsView
from reconcile.declared import DeclaredFile
from reconcile.desired import AdmissionSpec, Key, Kind, Spec, listener_key
from reconcile.history import FileHistory
from reconcile.loop import Reconciler
from reconcile.observed import Phase
from reconcile.preview import Live
from reconcile.source import FileSource
from schemas.names import ClientId, ListenAddress, ServiceName, parse_listen
from schemas.plan_report import PlanReport
from schemas.reload_report import ReloadReport
from schemas.roles import Role
from schemas.state import GatewayState, State
from schemas.status import AgentStatus, GatewayStatus, ProblemStatus, ResourceStatus, SourceStatus
from tests.support.fake_actuator import FakeActuator

START = datetime(2026, 5, 17, 12, 0, tzinfo=UTC)

GATEWAY = """
    tidegate: 1
    gateway:
      admins: [ops]
      tls: {cert: gw.crt, key: gw.key, client_ca: ca.crt}
"""

BLOG = """
    tunnels:
      - {name: blog, listen: "0.0.0.0:443", hostname: blog.example.com, client: homelab, service: web}
"""


class FakeGateway:
    """The backend of a gateway whose ports are entries of a dictionary."""

    def __init__(self, state_path: Path, *, patience: float = 60.0) -> None:
        self.state_path = state_path
        self.fragment = DeclaredFile(state_path.parent / "gateway.api.toml")
        self.actuator = FakeActuator()
        self.probed: list[ListenAddress] = []
        self.events = Events(lambda: START, run="run")
        self.memory = Memory(state_path, clock=lambda: START)
        history = FileHistory(
            state_path.parent / "gateway.history", understand=understood, clock=lambda: START
        )
        self.memory.history = history
        source = self.source = FileSource(
            state_path, role=Role.GATEWAY, owned=self.fragment.path, history=history
        )
        self.loop = Reconciler(
            source,
            self.actuator,
            random=lambda: 0.0,
            clock=lambda: START,
            report=TurnEvents(self.events.publish),
        )
        self.states: dict[ClientId, tuple[str, str]] = {}
        self.offers: dict[ClientId, frozenset[ServiceName]] = {}
        self.declared = DeclaredTunnels(
            state_path,
            self.fragment,
            self.loop,
            self.actuator.observe,
            patience=patience,
            probe=lambda address: self.probed.append(address),
        )

    async def plan(self, files: Sequence[ProposedFile]) -> PlanReport:
        state = self.loop.status.state
        assert isinstance(state, GatewayState)
        return await plan_files(
            files,
            path=self.state_path,
            source=self.source,
            started_with=state.gateway,
            reconciler=self.loop,
            observe=self.actuator.observe,
            live=self._live,
        )

    async def _live(self, desired: Mapping[Key, Spec]) -> Live:
        return Live()

    async def reload_and_report(self) -> ReloadReport:
        async def no_trouble() -> tuple[str, ...]:
            return ()

        return await reload_and_report(self.loop, no_trouble)

    def facts(self) -> Facts | None:
        seen = self.loop.status
        return Facts(
            state=seen.state if isinstance(seen.state, GatewayState) else None,
            generation=seen.generation,
            accepted=seen.accepted,
            problems=seen.problems,
            observed=self.actuator.observe(),
            clients=ClientsView(admitted=None, offers=self.offers),
        )

    def accepted(self) -> tuple[State | None, str]:
        return self.loop.status.state, self.loop.status.digest

    def client_states(self) -> Mapping[ClientId, tuple[str, str]]:
        return self.states

    async def catch_up(self) -> None:
        pass

    def status(self) -> AgentStatus:
        seen = self.loop.status
        resources = tuple(
            ResourceStatus(
                kind=key.kind.value, name=key.name, phase=observed.phase.value, message=observed.message
            )
            for key, observed in self.actuator.observe().items()
        )
        return GatewayStatus(
            name="gw1",
            version="0",
            started_at=START,
            now=START,
            ready=seen.generation > 0 and seen.generation == seen.observed_generation and not seen.failed,
            source=SourceStatus(
                path=str(self.state_path),
                generation=seen.generation,
                observed_generation=seen.observed_generation,
                digest=seen.digest,
                loaded_at=seen.loaded_at,
                problems=tuple(
                    ProblemStatus(
                        file=None if problem.place is None else problem.place.file,
                        line=None if problem.place is None else problem.place.line,
                        col=None if problem.place is None else problem.place.col,
                        message=problem.message,
                        text=str(problem),
                    )
                    for problem in seen.problems
                ),
            ),
            resources=resources,
            tunnels=(),
            clients=(),
        )

    def admission(self) -> AdmissionSpec:
        """Who may connect, as the accepted state has it."""
        spec = self.actuator.observe()[Key(kind=Kind.ADMISSION, name="")].spec
        assert isinstance(spec, AdmissionSpec)
        return spec

    def write(self, *parts: str) -> None:
        """Write the state file. The loop is not told."""
        self.state_path.write_text(written(*parts))

    async def turn(self) -> None:
        """Let the loop look again, and wait until it has."""
        await self.loop.wait_turn(self.loop.ring())

    def open_ports(self) -> dict[str, list[str]]:
        """The tunnels that each open port leads to."""
        return {
            key.name: [route.tunnel for route in seen.spec.routes]  # type: ignore[union-attr]  # a listener's
            for key, seen in self.actuator.observe().items()
            if key.kind is Kind.LISTENER and seen.phase is Phase.OPEN
        }

    def fragment_text(self) -> str | None:
        data = self.fragment.read()
        return None if data is None else data.decode()


def written(*parts: str) -> str:
    """The text of a state file."""
    return "".join(textwrap.dedent(part).lstrip("\n") for part in parts)


def port(text: str) -> Key:
    """The key of the listener at one address."""
    (address,) = parse_listen(text)
    return listener_key(address)


def entry(client: str, listen_port: int, service: str = "web", **more: Any) -> dict[str, Any]:
    """An entry as threshold writes it."""
    return {
        "ClientId": client,
        "ListenAddress": "0.0.0.0",
        "ListenPort": listen_port,
        "ListenHostnameGlob": "*",
        "BackEndService": service,
        "HaProxyProxyProtocol": False,
        **more,
    }


@asynccontextmanager
async def running(gateway: FakeGateway) -> AsyncIterator[FakeGateway]:
    """The gateway with its loop, from the end of its first turn on."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(gateway.loop.run)
        tasks.start_soon(gateway.memory.keeping(gateway.source, gateway.loop.ring))
        await gateway.loop.wait_turn(1)
        yield gateway
        tasks.cancel_scope.cancel()
