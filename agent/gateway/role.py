"""The gateway role: the list of its parts.

Rule: this file wires parts together and decides nothing that one of them could.
"""

from __future__ import annotations

import gc
import random
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import structlog
from anyio.abc import TaskStatus

from agent.actuator import ResourceActuator
from agent.api.loading import load_app
from agent.events import Events
from agent.keeping import keep
from agent.keys.key_watch import KeyWatch
from agent.logs.pipeline import set_level
from agent.logs.turn_log import log_turn_event
from agent.past.memory import Memory
from agent.past.paths import declared_path, kept_path
from agent.past.starting import begin
from agent.process.bind import Ports
from agent.process.inherited import Inherited
from agent.process.lifetime import Lifetime
from agent.process.spawn import IsolatedTasks
from agent.reloading import reload_and_report
from agent.reports import counted
from agent.restart import log_needed_restart
from agent.traffic import TrafficBook, visitor_side
from agent.turn_events import TurnEvents
from agent.version import VERSION
from reconcile.desired import AdmissionSpec, EgressSpec, Key, Kind, Spec
from reconcile.loop import Reconciler, Turn
from reconcile.source import FileSource
from reconcile.state_reader import StateReader
from schemas.errors import Problem, StateError
from schemas.names import ClientId
from schemas.reload_report import ReloadReport
from schemas.roles import Role
from schemas.state import GatewaySettings, GatewayState, State
from schemas.status import GatewayStatus

from .admission import Admissions
from .client_declarations import ClientDeclarations
from .control_port import ControlPorts
from .drain import GatewayDrain
from .egress import NOTHING, Egress, EgressOpener, missing_sources
from .egress_names import Names
from .kept_declarations import KeptDeclarations
from .keyring import Keyring
from .listeners import PublicListeners
from .management import ManagementPorts
from .sessions import Sessions
from .status import GatewayReporter

if TYPE_CHECKING:
    from agent.api.declared import DeclaredTunnels
    from agent.planning import ProposedFile
    from reconcile.preview import Live
    from schemas.plan_report import PlanReport

    from .explain import Facts

_MANY_TUNNELS: Final = 1000
_LOOK_PAUSE: Final = 0.2  # seconds between two looks at the conditions, however much happens

_log: Any = structlog.get_logger("gateway")


class Gateway:
    """A gateway that does what a state file says. Also the ``Backend`` of its API."""

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
        self._changed = anyio.Event()
        self._settings: GatewaySettings
        self._reader = reader or StateReader(Role.GATEWAY)
        self._keyring = Keyring()
        self._key_watch = KeyWatch(self._keyring)
        self._reconciler: Reconciler
        self._reporter: GatewayReporter
        self._sessions: Sessions
        self._listeners: PublicListeners
        self._egress: Egress
        self._ports = Ports(self._inherited)
        self._declarations: ClientDeclarations
        self._source: FileSource
        self._actuator: ResourceActuator

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
            settings = self._settings = state.gateway
            name = _name(settings)
            try:
                problems = await self._keep(name, settings, listening, task_status)
            finally:
                _log.info("gateway_stopped", name=name)
        if problems:
            raise StateError(problems)

    async def _keep(
        self, name: str, settings: GatewaySettings, admin: socket.socket, task_status: TaskStatus[None]
    ) -> tuple[Problem, ...]:
        fragment = declared_path(self._path, settings)
        source = self._source = FileSource(
            self._path,
            role=Role.GATEWAY,
            owned=fragment,
            history=self.memory.remember(settings),
            reader=self._reader,
        )
        load = partial(load_app, self)
        tunnels = TrafficBook(visitor_side)
        sessions = self._sessions = Sessions(name, _now, self._note_change, self.events.publish)
        declarations = self._declarations = ClientDeclarations(
            source, KeptDeclarations(kept_path(self._path, settings)), lambda: self._reconciler.ring()
        )
        await declarations.restore()
        sessions.declarations = declarations
        ports = self._ports
        listeners = self._listeners = PublicListeners(sessions, tunnels, ports.bind)

        def started() -> None:
            state = self._reconciler.status.state
            if isinstance(state, GatewayState) and len(state.tunnels) >= _MANY_TUNNELS:
                # All this stays, and to look for garbage in ten thousand tunnels holds up visitors for 50 ms.
                gc.collect()
                gc.freeze()
            _log.info("gateway_started", name=name, version=VERSION, state=str(self._path))
            for reason in self._inherited.warnings:
                _log.warning("socket_unused", reason=reason)
            task_status.started()

        async with anyio.create_task_group() as tasks:
            spawn = IsolatedTasks(tasks)
            control = self._control_ports = ControlPorts(sessions, self._keyring, spawn, ports.bind)
            egress = self._egress = Egress(Names(), lambda: actuator.observe(), sessions.traffic)
            sessions.ask_egress = egress.ask
            actuator = self._actuator = ResourceActuator(
                {
                    Kind.ADMISSION: Admissions(sessions),
                    Kind.EGRESS: EgressOpener(egress),
                    Kind.CONTROL: control,
                    Kind.MANAGEMENT: ManagementPorts(load, sessions, self._keyring, spawn, ports.bind),
                    Kind.LISTENER: listeners,
                },
                ring=self.reload,
            )
            self._reconciler = Reconciler(
                declarations, actuator, random=random.random, clock=_now, report=self._report
            )
            self._reporter = GatewayReporter(
                name=name,
                path=self._path,
                clock=_now,
                reconciler=self._reconciler,
                actuator=actuator,
                sessions=sessions,
                tunnels=tunnels,
                egress=egress.open_of,
                warnings=lambda: (
                    *self.memory.warnings,
                    *self._key_watch.warnings,
                    *self._keyring.warnings(_now()),
                    *sessions.warnings,
                    *declarations.warnings,
                    *self._inherited.warnings,
                ),
                life=lambda: self.lifetime.life,
                publish=self.events.publish,
            )
            try:
                problems = await keep(
                    source=source,
                    key_watch=self._key_watch,
                    reconciler=self._reconciler,
                    actuator=actuator,
                    load=load,
                    listening=admin,
                    background=[
                        self._keep_looking,
                        self.memory.keeping(source, self.reload),
                        declarations.run,
                    ],
                    started=started,
                    lifetime=self.lifetime,
                    drain=GatewayDrain(
                        actuator=actuator, listeners=listeners, sessions=sessions, egress=egress
                    ),
                    drain_limit=lambda: self.drain_limit,
                    events=self.events,
                )
            finally:
                listeners.turn_everyone_away()
                egress.turn_everyone_away()
            tasks.cancel_scope.cancel()
        return problems

    @property
    def drain_limit(self) -> float:
        """Seconds that visitors have to finish when the gateway stops."""
        state = self._reconciler.status.state
        return state.gateway.drain if isinstance(state, GatewayState) else self._settings.drain

    def summary(self) -> str:
        """How it is, in one short line."""
        if self.lifetime.is_running:
            return self._reporter.summary()
        return f"Draining: {counted(self._listeners.open + self._egress.open, 'connection')} open"

    def reload(self) -> None:
        """Look at the state file, and at what it refers to, now."""
        self._reconciler.ring()
        self._key_watch.ring()

    async def reload_and_report(self) -> ReloadReport:
        """Look now, and say what came of it."""
        return await reload_and_report(self._reconciler, self._key_watch.look)

    # Backend: what the API needs, not before run() has started

    def status(self) -> GatewayStatus:
        """What it has to say of itself."""
        return self._reporter.status()

    async def catch_up(self) -> None:
        """Make what there is to say ready to be said."""
        await self._reporter.catch_up()

    def facts(self) -> Facts:
        """What an explanation of a visitor is made of."""
        from .explain import Facts  # not before somebody asks

        status = self._reconciler.status
        return Facts(
            state=status.state if isinstance(status.state, GatewayState) else None,
            generation=status.generation,
            accepted=status.accepted,
            problems=status.problems,
            observed=self._actuator.observe(),
            clients=self._reporter.clients_view(),
            balancer=self._reporter.balancer_view(),
            is_stopping=not self.lifetime.is_running,
        )

    def accepted(self) -> tuple[State | None, str]:
        """The state that counts, and its digest."""
        status = self._reconciler.status
        return self._declarations.written(status.state), status.digest

    def client_states(self) -> Mapping[ClientId, tuple[str, str]]:
        """The current and the last state of every known client, in threshold's words."""
        return self._sessions.states()

    async def plan(self, files: Sequence[ProposedFile]) -> PlanReport:
        """What these files would change.

        :raises StateError: if they would be refused.
        """
        from agent.planning import plan_files  # not before somebody asks

        return await plan_files(
            files,
            path=self._path,
            source=self._declarations,
            started_with=self._settings,
            reconciler=self._reconciler,
            observe=self._actuator.observe,
            live=self._live,
            warn=missing_sources,
        )

    @cached_property
    def declared(self) -> DeclaredTunnels:
        """The owner of the tunnels declared through the API."""
        from agent.api.declared import DeclaredTunnels  # not before somebody asks
        from reconcile.declared import DeclaredFile  # the same

        return DeclaredTunnels(
            self._path,
            DeclaredFile(declared_path(self._path, self._settings)),
            self._reconciler,
            self._actuator.observe,
            probe=self._ports.probe,
            written=self._declarations.written,
        )

    # Its own

    async def _first_state(self) -> GatewayState:
        """The state at the start, which says where the gateway keeps its own things."""
        loaded = await FileSource(self._path, role=Role.GATEWAY, reader=self._reader).load()
        if isinstance(loaded.state, GatewayState):
            return loaded.state
        raise StateError(loaded.problems)

    async def _keep_looking(self) -> None:
        while True:
            await self._changed.wait()
            self._changed = anyio.Event()
            await self._reporter.keep_up()
            await anyio.sleep(_LOOK_PAUSE)

    async def _live(self, desired: Mapping[Key, Spec]) -> Live:
        from reconcile.preview import Live  # not before somebody asks

        from .key_outlook import look_ahead  # the same

        keys = await look_ahead(desired, self._keyring, self._control_ports.links)
        admission = next(spec for spec in desired.values() if isinstance(spec, AdmissionSpec))
        not_admitted = self._sessions.losing(admission)
        lost = not_admitted | keys.losing
        visits, egress = self._listeners.visits(losing=lost), self._egress
        rules = next((spec for spec in desired.values() if isinstance(spec, EgressSpec)), NOTHING)

        def cut(clients: frozenset[ClientId]) -> Mapping[ClientId, int]:
            return {client: visits.by_client.get(client, 0) + egress.open_of(client) for client in clients}

        return Live(
            by_route=visits.by_route,
            lost=cut(not_admitted),
            disowned=cut(keys.losing - not_admitted),
            forbidden={client: count for client, count in egress.losing(rules).items() if client not in lost},
            doubts=(keys.problem,) if keys.problem else (),
        )

    def _report(self, turn: Turn) -> None:
        if turn.fresh and isinstance(turn.state, GatewayState):
            settings = turn.state.gateway
            set_level(settings.log_level)
            self._sessions.name = self._reporter.name = _name(settings)
            log_needed_restart(self._settings, settings)
        self._declarations.look(turn)
        self._turn_events(turn)
        self.memory.look()
        self._note_change()

    def _note_change(self) -> None:
        self._changed.set()


def _now() -> datetime:
    return datetime.now(UTC)


def _name(settings: GatewaySettings) -> str:
    return settings.name or socket.gethostname()
