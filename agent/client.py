"""The client role: the list of its parts, and how they begin and end.

Rule: this file wires parts together and decides nothing that one of them could.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import anyio
import structlog
from anyio.abc import TaskStatus

from reconcile.desired import Kind, ServicesSpec
from reconcile.loop import Reconciler
from reconcile.source import FileSource
from reconcile.watch import watch
from schemas.errors import StateError
from schemas.roles import Role
from schemas.state import ClientState
from schemas.status import ClientAgentStatus

from .actuator import Failed, ResourceActuator
from .connector import GatewayLinks
from .reports import is_ready, resource_statuses, source_status
from .services import Services
from .turn_log import TurnLog
from .version import VERSION

_CLOSE_TIMEOUT: Final = 5.0  # seconds that closing everything may take

_log: Any = structlog.get_logger("client")


class Client:
    """A client that does what a state file says."""

    def __init__(self, state_path: Path) -> None:
        self._path = state_path
        self._reconciler: Reconciler
        self._actuator: ResourceActuator
        self._services: Services
        self._links: GatewayLinks
        self._name = ""
        self._started_at = _now()

    def status(self) -> ClientAgentStatus:
        """What it has to say of itself. Not before :meth:`run` has started."""
        status = self._reconciler.status
        return ClientAgentStatus(
            name=self._name,
            version=VERSION,
            started_at=self._started_at,
            now=_now(),
            ready=is_ready(status) and self._links.is_connected,
            source=source_status(self._path, status),
            resources=resource_statuses(self._actuator.observe()),
            links=self._links.status(),
            services=self._services.status(),
        )

    def reload(self) -> None:
        """Look at the state file now."""
        self._reconciler.ring()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled. Started when the first state has been applied.

        :raises StateError: if the state file is not valid at the start.
        :raises TidegateError: if the admin socket cannot be opened.
        """
        self._name = (await self._first_state()).client.id
        async with anyio.create_task_group() as tasks:
            self._services = Services()
            self._links = GatewayLinks(self._services, tasks.start_soon, _now)
            self._actuator = ResourceActuator(
                {Kind.SERVICES: self._open_services, Kind.LINK: self._links}, ring=self.reload
            )
            source = FileSource(self._path, role=Role.CLIENT)
            self._reconciler = Reconciler(
                source, self._actuator, random=random.random, clock=_now, report=TurnLog()
            )
            try:
                async with anyio.create_task_group() as loop:
                    loop.start_soon(self._reconciler.run)
                    await self._reconciler.wait_turn(1)
                    loop.start_soon(watch, source, self._reconciler.ring)
                    _log.info("client_started", id=self._name, version=VERSION, state=str(self._path))
                    task_status.started()
            finally:
                with anyio.move_on_after(_CLOSE_TIMEOUT, shield=True):
                    await self._actuator.close_all()
                tasks.cancel_scope.cancel()
                _log.info("client_stopped", id=self._name)

    async def _first_state(self) -> ClientState:
        """The state at the start: an agent does not start on one that is not valid."""
        loaded = await FileSource(self._path, role=Role.CLIENT).load()
        if isinstance(loaded.state, ClientState):
            return loaded.state
        raise StateError(loaded.problems)

    async def _open_services(self, spec: ServicesSpec, failed: Failed) -> Services:
        self._services.on_change = self._links.services_changed
        await self._services.update(spec)
        return self._services


def _now() -> datetime:
    return datetime.now(UTC)
