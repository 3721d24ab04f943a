"""The client role: the list of its parts.

Rule: this file wires parts together and decides nothing that one of them could.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import structlog
from anyio.abc import TaskStatus

from agent.actuator import Failed, ResourceActuator
from agent.api.loading import load_app
from agent.events import Events
from agent.keeping import keep
from agent.keys.key_watch import KeyWatch, KeyWatches
from agent.logs.pipeline import set_level
from agent.logs.turn_log import log_turn_event
from agent.past.memory import Memory
from agent.past.starting import begin
from agent.process.bind import Ports
from agent.process.inherited import Inherited
from agent.process.lifetime import Lifetime
from agent.process.spawn import IsolatedTasks
from agent.reloading import reload_and_report
from agent.reports import counted, is_ready, resource_statuses, source_status
from agent.restart import log_needed_restart
from agent.turn_events import TurnEvents
from agent.version import VERSION
from reconcile.desired import Key, Kind, ServicesSpec, Spec
from reconcile.loop import Reconciler, Turn
from reconcile.source import FileSource
from reconcile.state_reader import StateReader
from schemas.errors import Problem, StateError
from schemas.gateway_address import GatewayAddress
from schemas.names import ClientId
from schemas.reload_report import ReloadReport
from schemas.roles import Role
from schemas.state import ClientSettings, ClientState, State, TlsClient
from schemas.status import ClientAgentStatus, LinkPhase

from .connector import GatewayLinks
from .drain import ClientDrain
from .link_keys import LinkKeys
from .services import Services
from .socks5 import Socks5Ports

if TYPE_CHECKING:
    from agent.planning import ProposedFile
    from reconcile.preview import Live
    from schemas.plan_report import PlanReport

_log: Any = structlog.get_logger("client")


class Client:
    """A client that does what a state file says. Also the ``Backend`` of its API."""

    declared = None  # tunnels are declared on gateways

    def __init__(
        self, state_path: Path, inherited: Inherited | None = None, reader: StateReader | None = None
    ) -> None:
        """
        :param inherited: sockets that were handed over by a service manager.
        :param reader: one that is prepared.
        """
        self.lifetime = Lifetime()
        self._path = state_path
        self._inherited = inherited or Inherited()
        self.memory = Memory(state_path, clock=_now)
        self.events = Events(_now)
        self.events.listen(log_turn_event)
        self._turn_events = TurnEvents(self.events.publish)
        self._name: ClientId
        self._settings: ClientSettings
        self._started_at = _now()
        self._socks5 = Socks5Ports(lambda: self._links.first_healthy(), Ports(self._inherited).bind)
        self._reader = reader or StateReader(Role.CLIENT)
        self._key_watch = KeyWatches(KeyWatch(LinkKeys(self._tls)), KeyWatch(self._socks5))
        self._reconciler: Reconciler
        self._actuator: ResourceActuator
        self._services: Services
        self._links: GatewayLinks
        self._source: FileSource

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until told to stop, and then drain; or until cancelled.

        Started when the first state has been applied.

        :raises StateError: if the state is not valid at the start.
        :raises TidegateError: if the admin socket cannot be opened.
        """
        with ExitStack() as stack:
            state, listening = await begin(
                stack,
                path=self._path,
                inherited=self._inherited,
                memory=self.memory,
                read=self._first_state,
            )
            self._settings = state.client
            self._name = self._settings.id
            try:
                problems = await self._keep(listening, task_status)
            finally:
                _log.info("client_stopped", id=self._name)
        if problems:
            raise StateError(problems)

    async def _keep(self, admin: socket.socket, task_status: TaskStatus[None]) -> tuple[Problem, ...]:
        history = self.memory.remember(self._settings)
        source = self._source = FileSource(self._path, role=Role.CLIENT, history=history, reader=self._reader)

        def started() -> None:
            _log.info("client_started", id=self._name, version=VERSION, state=str(self._path))
            for reason in self._inherited.warnings:
                _log.warning("socket_unused", reason=reason)
            task_status.started()

        async with anyio.create_task_group() as tasks:
            self._services = Services(IsolatedTasks(tasks))
            self._links = GatewayLinks(
                self._services,
                IsolatedTasks(tasks),
                _now,
                lambda: self.drain_limit,
                self.events.publish,
                order=self._gateways,
            )
            self._services.on_change = self._links.services_changed
            self._actuator = ResourceActuator(
                {
                    Kind.SERVICES: self._open_services,
                    Kind.DECLARATION: self._links.declaring,
                    Kind.LINK: self._links,
                    Kind.SOCKS5: self._socks5,
                },
                ring=self.reload,
            )
            self._reconciler = Reconciler(
                source, self._actuator, random=random.random, clock=_now, report=self._report
            )
            try:
                problems = await keep(
                    source=source,
                    key_watch=self._key_watch,
                    reconciler=self._reconciler,
                    actuator=self._actuator,
                    load=partial(load_app, self),
                    listening=admin,
                    background=[self.memory.keeping(source, self.reload)],
                    started=started,
                    lifetime=self.lifetime,
                    drain=ClientDrain(
                        actuator=self._actuator,
                        links=self._links,
                        services=self._services,
                        socks5=self._socks5,
                    ),
                    drain_limit=lambda: self.drain_limit,
                    events=self.events,
                )
            finally:
                self._socks5.turn_everyone_away()
            tasks.cancel_scope.cancel()
        return problems

    @property
    def drain_limit(self) -> float:
        """Seconds that visitors have to finish when the client stops, or a session is given up."""
        state = self._reconciler.status.state
        return state.client.drain if isinstance(state, ClientState) else self._settings.drain

    def summary(self) -> str:
        """How it is, in one short line."""
        if not self.lifetime.is_running:
            return f"Draining: {counted(self._services.open + self._socks5.open, 'connection')} open"
        links = self._links.status()
        connected = sum(link.phase is LinkPhase.CONNECTED for link in links)
        return f"{counted(len(links), 'session')}, {connected} connected"

    def reload(self) -> None:
        """Look at the state file, and at what it refers to, now."""
        self._reconciler.ring()
        self._key_watch.ring()

    async def reload_and_report(self) -> ReloadReport:
        """Look now, and say what came of it."""
        return await reload_and_report(self._reconciler, self._key_watch.look)

    # Backend: what the API needs, not before run() has started

    async def catch_up(self) -> None:
        """Its status is short, and quick at any time."""

    def status(self) -> ClientAgentStatus:
        """What it has to say of itself."""
        status = self._reconciler.status
        return ClientAgentStatus(
            name=self._name,
            version=VERSION,
            started_at=self._started_at,
            now=_now(),
            life=self.lifetime.life,
            ready=is_ready(status) and self._links.is_ready and self.lifetime.is_running,
            source=source_status(self._path, status),
            resources=resource_statuses(self._actuator.observe()),
            warnings=(
                *self.memory.warnings,
                *self._key_watch.warnings,
                *self._inherited.warnings,
                *self._links.warnings,
            ),
            links=self._links.status(),
            services=self._services.status(),
            tunnels=self._links.declaring.status(),
            socks5=self._socks5.status(),
        )

    def facts(self) -> None:
        """None: visitors come to gateways."""

    def accepted(self) -> tuple[State | None, str]:
        """The state that counts, and its digest."""
        return self._reconciler.status.state, self._reconciler.status.digest

    def client_states(self) -> Mapping[ClientId, tuple[str, str]]:
        """None: clients connect to gateways."""
        return {}

    async def plan(self, files: Sequence[ProposedFile]) -> PlanReport:
        """What these files would change.

        :raises StateError: if they would be refused.
        """
        from agent.planning import plan_files  # not before somebody asks

        return await plan_files(
            files,
            path=self._path,
            source=self._source,
            started_with=self._settings,
            reconciler=self._reconciler,
            observe=self._actuator.observe,
            live=self._live,
        )

    # Its own

    async def _live(self, desired: Mapping[Key, Spec]) -> Live:
        from reconcile.preview import Live  # not before somebody asks

        return Live(by_service=self._services.visits(), by_link=self._links.visits())

    def _report(self, turn: Turn) -> None:
        if turn.fresh and isinstance(turn.state, ClientState):
            set_level(turn.state.client.log_level)
            self._name = turn.state.client.id
            log_needed_restart(self._settings, turn.state.client)
        self._turn_events(turn)
        self.memory.look()

    async def _first_state(self) -> ClientState:
        """The state at the start, which says where the client keeps its own things."""
        loaded = await FileSource(self._path, role=Role.CLIENT, reader=self._reader).load()
        if isinstance(loaded.state, ClientState):
            return loaded.state
        raise StateError(loaded.problems)

    def _tls(self) -> TlsClient | None:
        """What the links are to use."""
        state = self._reconciler.status.state
        return state.client.tls if isinstance(state, ClientState) else None

    def _gateways(self) -> Sequence[GatewayAddress]:
        """In the order of the file."""
        state = self._reconciler.status.state
        return state.client.gateways if isinstance(state, ClientState) else ()

    async def _open_services(self, spec: ServicesSpec, failed: Failed) -> Services:
        await self._services.update(spec)
        return self._services


def _now() -> datetime:
    return datetime.now(UTC)
