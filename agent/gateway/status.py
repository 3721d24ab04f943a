"""The gateway's report on itself.

Rule: this file reads everything and changes nothing. Conditions are looked at
again whenever a turn has ended or a client has come or gone, so that ``since``
tells when something changed, not when somebody asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import anyio.lowlevel
from anyio import to_thread

from agent.events import EventKind, Publish, publish_nowhere
from agent.reports import ResourceStatuses, counted, is_ready, source_status
from agent.traffic import TrafficBook
from agent.version import VERSION
from reconcile.actuator import Actuator
from reconcile.conditions import ClientsView
from reconcile.desired import route_of
from reconcile.fine_turns import fine_turns
from reconcile.loop import Reconciler
from schemas.names import ClientId
from schemas.state import GatewayState, Tunnel
from schemas.status import (
    Condition,
    GatewayStatus,
    Life,
    RefusalStatus,
    SessionStatus,
    Standing,
    TunnelClient,
    TunnelStatus,
)

from .absentees import Refused
from .lookout import STEP, Difference, Facts, Lookout, Seen, compare
from .sessions import Sessions
from .standing import BalancerView, standings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What was said of a tunnel last, and what that was made from."""

    seen: Seen
    status: TunnelStatus


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
        egress: Callable[[ClientId], int] = lambda client: 0,
        warnings: Callable[[], tuple[str, ...]] = tuple,
        life: Callable[[], Life] = lambda: Life.RUNNING,
        publish: Publish = publish_nowhere,
    ) -> None:
        self.name = name
        self._path = path
        self._clock = clock
        self._reconciler = reconciler
        self._actuator = actuator
        self._sessions = sessions
        self._tunnels = tunnels
        self._egress = egress
        self._warnings = warnings
        self._life = life
        self._started_at = clock()
        self._publish = publish
        self._lookout = Lookout(self._publish_change)
        self._told: dict[str, _Told] = {}
        self._resources = ResourceStatuses()

    def look(self) -> None:
        """Bring the conditions of all tunnels up to date."""
        self._note()
        self._lookout.step(None)

    async def keep_up(self) -> None:
        """The same in steps, between which visitors come in."""
        difference = None
        state = self._reconciler.status.state
        if isinstance(state, GatewayState) and state.tunnels is not self._lookout.tunnels:
            with fine_turns():
                difference = await to_thread.run_sync(compare, self._lookout.tunnels, state.tunnels)
        self._note(difference)
        while self._lookout.step():
            await anyio.lowlevel.checkpoint()

    async def catch_up(self) -> None:
        """Do what makes :meth:`status` quick, in such steps."""
        await self.keep_up()
        await to_thread.run_sync(self._resources.of, self._actuator.observe())
        seen = list(self._lookout.seen())
        for start in range(0, len(seen), STEP):
            views = self.clients_view(), self.balancer_view()
            self._told.update(
                (one.tunnel.name, self._tell(one, *views)) for one in seen[start : start + STEP]
            )
            await anyio.lowlevel.checkpoint()

    def _note(self, difference: Difference | None = None) -> None:
        status = self._reconciler.status
        if isinstance(status.state, GatewayState):
            self._lookout.note(
                Facts(
                    generation=status.generation,
                    tunnels=status.state.tunnels,
                    listeners=self._actuator.observe(),
                    clients=self.clients_view(),
                    is_draining=self._life() is not Life.RUNNING,
                    now=self._clock(),
                ),
                difference,
            )

    def status(self) -> GatewayStatus:
        """Everything there is to say, now."""
        self.look()
        status = self._reconciler.status
        observed = self._actuator.observe()
        return GatewayStatus(
            name=self.name,
            version=VERSION,
            started_at=self._started_at,
            now=self._clock(),
            life=self._life(),
            ready=is_ready(status) and self._life() is Life.RUNNING,
            source=source_status(self._path, status),
            resources=self._resources.of(observed),
            warnings=self._warnings(),
            tunnels=self._tunnel_statuses(),
            clients=tuple(self._client(client_id) for client_id in sorted(self._sessions.known())),
        )

    def summary(self) -> str:
        """How many tunnels and clients there are, as they were last looked at."""
        tunnels = [seen.conditions[-1].status for seen in self._lookout.seen()]
        return ", ".join(
            (
                counted(len(tunnels), "tunnel"),
                f"{sum(tunnels)} ready",
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
            refused={client_id: refused.reason for client_id, refused in self._sessions.refusals.items()},
        )

    def balancer_view(self) -> BalancerView:
        """Who is passed over, and how many visitors each of several clients has."""
        return self._sessions.balancer.view(time.monotonic())

    def _tunnel_statuses(self) -> tuple[TunnelStatus, ...]:
        """Of all tunnels. One of which there is nothing new to say is told as it was before."""
        views = self.clients_view(), self.balancer_view()
        self._told = {seen.tunnel.name: self._tell(seen, *views) for seen in self._lookout.seen()}
        return tuple(told.status for told in self._told.values())

    def _publish_change(self, seen: Seen, changed: tuple[Condition, ...]) -> None:
        self._publish(EventKind.TUNNEL_CHANGED, tunnel=seen.tunnel.name, conditions=changed)

    def _tell(self, seen: Seen, connected: ClientsView, balancer: BalancerView) -> _Told:
        tunnel = seen.tunnel
        before = self._told.get(tunnel.name)
        traffic = self._tunnels.traffic(tunnel.name)
        clients = _clients_of(tunnel, connected, balancer) if len(tunnel.client) > 1 else ()
        serving = _first_serving(clients) if clients else seen.serving
        if before is not None and before.seen is seen and before.status.clients == clients:
            if before.status.traffic is traffic or before.status.traffic == traffic:
                return before
            return _Told(seen=seen, status=before.status.model_copy(update={"traffic": traffic}))
        status = TunnelStatus(
            name=tunnel.name,
            listen=tuple(str(address) for address in tunnel.listen),
            hostname=tunnel.hostname,
            client=tunnel.client,
            balance=tunnel.balance.value,
            clients=clients,
            service=tunnel.service,
            proxy_protocol=tunnel.proxy_protocol.value,
            declared_by=tunnel.declared_by,
            serving_client=serving,
            conditions=seen.conditions,
            traffic=traffic,
        )
        return _Told(seen=seen, status=status)

    def _client(self, client_id: ClientId) -> SessionStatus:
        admitted = self._sessions.admission.clients
        sessions = self._sessions.connected().get(client_id)
        first = next(iter(sessions)) if sessions is not None else None
        certificate = first.certificate if first is not None else self._sessions.last_certificate(client_id)
        refused = self._sessions.refusals.get(client_id)
        return SessionStatus(
            id=client_id,
            connected=sessions is not None,
            declared=admitted is None or client_id in admitted,
            since=sessions.since if sessions is not None else self._sessions.last_seen(client_id),
            sessions=len(sessions) if sessions is not None else 0,
            draining=sessions is not None and all(client.draining for client in sessions),
            address=first.address if first is not None else None,
            serial=certificate.serial if certificate is not None else None,
            fingerprint=certificate.fingerprint if certificate is not None else None,
            refused=None if refused is None else _refusal(refused),
            software=first.software if first is not None else None,
            services=tuple(sorted(sessions.services)) if sessions is not None else (),
            traffic=self._sessions.traffic[client_id].snapshot(),
            egress=self._egress(client_id),
        )


def _refusal(refused: Refused) -> RefusalStatus:
    return RefusalStatus(
        at=refused.at,
        reason=refused.reason,
        address=refused.address,
        serial=refused.certificate.serial,
        fingerprint=refused.certificate.fingerprint,
    )


def _clients_of(tunnel: Tunnel, connected: ClientsView, balancer: BalancerView) -> tuple[TunnelClient, ...]:
    """How they stand, which may be another thing at any moment."""
    return tuple(
        TunnelClient(id=one.client, standing=one.standing, visitors=one.visitors)
        for one in standings(route_of(tunnel), connected, balancer)
    )


def _first_serving(clients: tuple[TunnelClient, ...]) -> str | None:
    return next((one.id for one in clients if one.standing is Standing.SERVES), None)
