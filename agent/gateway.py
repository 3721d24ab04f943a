"""The gateway role: the list of its parts, and how they begin and end.

Rule: this file wires parts together and decides nothing that one of them could.
"""

from __future__ import annotations

import random
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import anyio
import structlog
from anyio.abc import TaskStatus

from reconcile.desired import Kind
from reconcile.loop import Reconciler, Turn
from reconcile.source import FileSource
from reconcile.watch import watch
from schemas.errors import StateError
from schemas.roles import Role
from schemas.state import GatewayState
from schemas.status import GatewayStatus

from .actuator import ResourceActuator
from .admission import Admissions
from .control_port import ControlPorts
from .gateway_status import GatewayReporter
from .listeners import PublicListeners
from .paths import declared_path
from .sessions import Sessions
from .traffic import TrafficBook, visitor_side
from .turn_log import TurnLog
from .version import VERSION

_CLOSE_TIMEOUT: Final = 5.0  # seconds that closing everything may take
_LOOK_PAUSE: Final = 0.2  # seconds between two looks at the conditions, however much happens

_log: Any = structlog.get_logger("gateway")


class Gateway:
    """A gateway that does what a state file says."""

    def __init__(self, state_path: Path) -> None:
        self._path = state_path
        self._reconciler: Reconciler
        self._reporter: GatewayReporter
        self._changed = anyio.Event()
        self._turn_log = TurnLog()

    def status(self) -> GatewayStatus:
        """What it has to say of itself. Not before :meth:`run` has started."""
        return self._reporter.status()

    def reload(self) -> None:
        """Look at the state file now."""
        self._reconciler.ring()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled. Started when the first state has been applied.

        :raises StateError: if the state file is not valid at the start.
        :raises TidegateError: if the admin socket cannot be opened.
        """
        state = await self._first_state()
        settings = state.gateway
        name = settings.name or socket.gethostname()
        sessions = Sessions(name, _now, self._note_change)
        tunnels = TrafficBook(visitor_side)
        async with anyio.create_task_group() as tasks:
            listeners = PublicListeners(sessions, tunnels)
            actuator = ResourceActuator(
                {
                    Kind.ADMISSION: Admissions(sessions),
                    Kind.CONTROL: ControlPorts(sessions, tasks.start_soon),
                    Kind.LISTENER: listeners,
                },
                ring=self.reload,
            )
            source = FileSource(self._path, role=Role.GATEWAY, owned=declared_path(self._path, settings))
            self._reconciler = Reconciler(
                source, actuator, random=random.random, clock=_now, report=self._report
            )
            self._reporter = GatewayReporter(
                name=name,
                path=self._path,
                clock=_now,
                reconciler=self._reconciler,
                actuator=actuator,
                sessions=sessions,
                tunnels=tunnels,
            )
            try:
                async with anyio.create_task_group() as loop:
                    loop.start_soon(self._reconciler.run)
                    await self._reconciler.wait_turn(1)
                    loop.start_soon(watch, source, self._reconciler.ring)
                    loop.start_soon(self._keep_looking)
                    _log.info("gateway_started", name=name, version=VERSION, state=str(self._path))
                    task_status.started()
            finally:
                with anyio.move_on_after(_CLOSE_TIMEOUT, shield=True):
                    await actuator.close_all()
                    listeners.turn_everyone_away()
                tasks.cancel_scope.cancel()
                _log.info("gateway_stopped", name=name)

    async def _first_state(self) -> GatewayState:
        """The state at the start: an agent does not start on one that is not valid."""
        loaded = await FileSource(self._path, role=Role.GATEWAY).load()
        if isinstance(loaded.state, GatewayState):
            return loaded.state
        raise StateError(loaded.problems)

    async def _keep_looking(self) -> None:
        while True:
            await self._changed.wait()
            self._changed = anyio.Event()
            self._reporter.look()
            await anyio.sleep(_LOOK_PAUSE)

    def _report(self, turn: Turn) -> None:
        self._turn_log(turn)
        self._note_change()

    def _note_change(self) -> None:
        self._changed.set()


def _now() -> datetime:
    return datetime.now(UTC)
