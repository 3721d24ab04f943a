"""The gateway's report on itself.

Rule: this file reads everything and changes nothing. Conditions are looked at
again whenever a turn has ended or a client has come or gone, so that ``since``
tells when something changed, not when somebody asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from reconcile.actuator import Actuator
from reconcile.conditions import ClientsView, serving_client, tunnel_conditions
from reconcile.loop import Reconciler
from schemas.names import ClientId
from schemas.state import GatewayState, Tunnel
from schemas.status import Condition, GatewayStatus, Life, SessionStatus, TunnelStatus

from .reports import counted, is_ready, resource_statuses, source_status
from .sessions import Sessions
from .traffic import TrafficBook
from .version import VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A tunnel as it was last looked at. ``generation`` is the one that declared it as it is."""

    tunnel: Tunnel
    generation: int
    conditions: tuple[Condition, ...]


class GatewayReporter:
    """Makes the status of a gateway. ``name`` may change."""

    def __init__(
        self,
        *,
        name: str,
        path: Path,
        clock: Callable[[], datetime],
        reconciler: Reconciler,
        actuator: Actuator,
        sessions: Sessions,
        tunnels: TrafficBook,
        warnings: Callable[[], tuple[str, ...]] = tuple,
        life: Callable[[], Life] = lambda: Life.RUNNING,
    ) -> None:
        self.name = name
        self._path = path
        self._clock = clock
        self._reconciler = reconciler
        self._actuator = actuator
        self._sessions = sessions
        self._tunnels = tunnels
        self._warnings = warnings
        self._life = life
        self._started_at = clock()
        self._seen: dict[str, _Seen] = {}

    def look(self) -> None:
        """Bring the conditions of all tunnels up to date."""
        status = self._reconciler.status
        if not isinstance(status.state, GatewayState):
            return
        view = self.clients_view()
        observed = self._actuator.observe()
        now = self._clock()
        is_draining = self._life() is not Life.RUNNING
        seen: dict[str, _Seen] = {}
        for tunnel in status.state.tunnels:
            before = self._seen.get(tunnel.name)
            generation = status.generation
            if before is not None and before.tunnel == tunnel:
                generation = before.generation
            conditions = tunnel_conditions(
                tunnel,
                generation=generation,
                listeners=observed,
                clients=view,
                is_draining=is_draining,
                previous=before.conditions if before is not None else (),
                now=now,
            )
            seen[tunnel.name] = _Seen(tunnel=tunnel, generation=generation, conditions=conditions)
        self._seen = seen

    def status(self) -> GatewayStatus:
        """Everything there is to say, now."""
        self.look()
        status = self._reconciler.status
        observed = self._actuator.observe()
        view = self.clients_view()
        return GatewayStatus(
            name=self.name,
            version=VERSION,
            started_at=self._started_at,
            now=self._clock(),
            life=self._life(),
            ready=is_ready(status) and self._life() is Life.RUNNING,
            source=source_status(self._path, status),
            resources=resource_statuses(observed),
            warnings=self._warnings(),
            tunnels=tuple(self._tunnel(seen, view) for seen in self._seen.values()),
            clients=tuple(self._client(client_id) for client_id in sorted(self._sessions.known())),
        )

    def summary(self) -> str:
        """How many tunnels and clients there are, as they were last looked at."""
        ready = sum(seen.conditions[-1].status for seen in self._seen.values())
        return ", ".join(
            (
                counted(len(self._seen), "tunnel"),
                f"{ready} ready",
                counted(len(self._sessions.connected()), "client"),
            )
        )

    def clients_view(self) -> ClientsView:
        """Who may connect, and who is connected and offers what."""
        return ClientsView(
            admitted=self._sessions.admission.clients,
            offers={
                client_id: frozenset().union(*offers)
                for client_id, sessions in self._sessions.connected().items()
                if (offers := [client.services for client in sessions if client.can_serve])
            },
        )

    def _tunnel(self, seen: _Seen, view: ClientsView) -> TunnelStatus:
        tunnel = seen.tunnel
        return TunnelStatus(
            name=tunnel.name,
            listen=tuple(str(address) for address in tunnel.listen),
            hostname=tunnel.hostname,
            client=tunnel.client,
            service=tunnel.service,
            proxy_protocol=tunnel.proxy_protocol.value,
            declared_by=tunnel.declared_by,
            serving_client=serving_client(tunnel, view),
            conditions=seen.conditions,
            traffic=self._tunnels[tunnel.name].snapshot(),
        )

    def _client(self, client_id: ClientId) -> SessionStatus:
        admitted = self._sessions.admission.clients
        sessions = self._sessions.connected().get(client_id)
        first = next(iter(sessions)) if sessions is not None else None
        return SessionStatus(
            id=client_id,
            connected=sessions is not None,
            declared=admitted is None or client_id in admitted,
            since=sessions.since if sessions is not None else self._sessions.last_seen(client_id),
            sessions=len(sessions) if sessions is not None else 0,
            draining=sessions is not None and all(client.draining for client in sessions),
            address=first.address if first is not None else None,
            software=first.software if first is not None else None,
            services=tuple(sorted(sessions.services)) if sessions is not None else (),
            traffic=self._sessions.traffic[client_id].snapshot(),
        )
