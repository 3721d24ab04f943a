"""What an agent says about itself: the body of ``GET /v1/status``.

Rule: these models are the only description of a running agent. The API serves
them, ``tidegate status`` and the live table draw them, and nothing else does.
Times are RFC 3339 in UTC; counters count since the agent started.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field


class _Report(BaseModel):
    # Built when the first one is made: most are not before somebody asks.
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class Life(Enum):
    """Where an agent is between its start and its end."""

    RUNNING = "Running"
    DRAINING = "Draining"  # it was told to stop: it takes on nothing new, and what is open may finish
    STOPPED = "Stopped"


class ConditionType(Enum):
    """The conditions of a tunnel, in the words of the Kubernetes Gateway API."""

    ACCEPTED = "Accepted"  # the declaration is valid and its client may connect
    PROGRAMMED = "Programmed"  # every port it asks for is open and carries its route
    RESOLVED_REFS = "ResolvedRefs"  # its client is connected and offers the service
    READY = "Ready"  # all of the above: a visitor gets through


class Condition(_Report):
    """One statement about a tunnel, why it holds, and since when."""

    type: ConditionType
    status: bool
    reason: str
    message: str
    observed_generation: int
    since: datetime


class Traffic(_Report):
    """Visitors and bytes. ``bytes_in`` flow from the visitor to the service."""

    open: int = 0
    total: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class Standing(Enum):
    """How a client of a tunnel stands now."""

    SERVES = "serves"  # it gets the next visitor, or a share of them
    STANDS_BY = "stands_by"  # it could, and another one is preferred
    DOUBTED = "doubted"  # it has failed lately, and the others are asked first for a while
    DOES_NOT_OFFER = "does_not_offer"  # it is connected
    AWAY = "away"


class TunnelClient(_Report):
    """One of several clients of a tunnel. ``visitors``: those who are with it now."""

    id: str
    standing: Standing
    visitors: int


class TunnelStatus(_Report):
    """One tunnel. ``clients`` is empty where it has one only; ``serving_client`` is the first that serves."""

    name: str
    listen: tuple[str, ...]
    hostname: tuple[str, ...]
    client: tuple[str, ...]
    balance: str = "preference"
    clients: tuple[TunnelClient, ...] = ()
    service: str
    proxy_protocol: str
    declared_by: str | None
    serving_client: str | None
    conditions: tuple[Condition, ...]
    traffic: Traffic

    def condition(self, kind: ConditionType) -> Condition:
        """The condition of that type.

        :raises KeyError: if the agent did not report it.
        """
        for condition in self.conditions:
            if condition.type is kind:
                return condition
        raise KeyError(kind)


class ResourceStatus(_Report):
    """One thing the agent keeps in force: a listener, the control port, a link."""

    kind: str
    name: str
    phase: str
    message: str


class ProblemStatus(_Report):
    """One problem of the newest reading of the state file."""

    file: str | None
    line: int | None
    col: int | None
    message: str
    text: str


class SourceStatus(_Report):
    """Where desired state comes from, and which of it is in force.

    ``accepted``: whether what it says now is the generation that counts; then ``problems``
    are what was left out of it, and otherwise why it was refused.
    """

    path: str
    generation: int
    observed_generation: int
    digest: str
    loaded_at: datetime | None
    accepted: bool = True
    problems: tuple[ProblemStatus, ...]


class RefusalStatus(_Report):
    """When a client that is away was last refused, why, and with which certificate."""

    at: datetime
    reason: str
    address: str
    serial: str
    fingerprint: str


class SessionStatus(_Report):
    """A client as the gateway sees it. ``address`` is that of its first session, if there are several.

    So are ``serial`` and ``fingerprint`` (SHA-256), which name its certificate as a state file does where it
    is ``revoked``; of a client that is away they are those with which it was here last.
    ``refused``: why it is away, if it has tried to come back.
    ``draining``: it is about to stop, and none of its sessions takes a visitor any more.
    ``egress``: how many of the open connections in ``traffic`` the gateway has made for it. Of those, too,
    ``bytes_in`` flow to the client.
    """

    id: str
    connected: bool
    declared: bool
    since: datetime
    sessions: int
    draining: bool = False
    address: str | None
    serial: str | None = None
    fingerprint: str | None = None
    refused: RefusalStatus | None = None
    software: str | None
    services: tuple[str, ...]
    traffic: Traffic
    egress: int = 0


class LinkPhase(Enum):
    CONNECTING = "Connecting"
    CONNECTED = "Connected"
    WAITING = "Waiting"  # for the next attempt
    REFUSED = "Refused"  # the gateway said no; tried again all the same
    STANDBY = "Standby"  # the same gateway is reached at another address; dialed when that is lost
    DRAINING = (
        "Draining"  # one of the two is about to end it: no new visitors, those who are there may finish
    )


class Renewal(Enum):
    """Whether a session is by the settings that count now."""

    DONE = "done"
    PENDING = "pending"  # one by those is being tried for
    FAILED = "failed"  # that one could not be made; it is tried for again


class LinkStatus(_Report):
    """One session to a gateway as the client sees it. Those of one gateway are numbered from 1.

    ``address`` is where it goes if the gateway is given by a name that this machine looks up, and else empty.
    ``via`` is the proxy on the way, if there is one.
    One that is no longer kept, or is replaced by another, is there beside the others while it drains.
    With a ``renewal`` that is not done, visitors are served by a session of the settings of before.
    ``attempts`` counts how often it was dialed since it was last connected.
    """

    gateway: str
    address: str = ""
    via: str = ""
    session: int
    phase: LinkPhase
    renewal: Renewal = Renewal.DONE
    message: str
    since: datetime
    attempts: int
    next_attempt_at: datetime | None


class OwnTunnelStatus(_Report):
    """A tunnel that the client's own file declares, at one gateway. ``message``: why it is not in force.

    ``answered``: whether the gateway has said what came of it.
    """

    gateway: str
    name: str
    listen: tuple[str, ...]
    hostname: tuple[str, ...]
    service: str
    answered: bool = True
    in_force: bool
    message: str


class ServiceHealth(Enum):
    """What the health check of a service says. One that fails is not offered."""

    UNCHECKED = "unchecked"  # it has none, and is offered
    ANSWERS = "answers"
    FAILS = "fails"


class ServiceStatus(_Report):
    name: str
    target: str
    health: ServiceHealth = ServiceHealth.UNCHECKED
    last_error: str | None
    traffic: Traffic


class Socks5Status(_Report):
    """The client's SOCKS5 port, while it is open. ``bytes_in`` flow to the programs that use it."""

    listen: str
    user: str | None
    last_error: str | None
    traffic: Traffic


class GatewayStatus(_Report):
    role: Literal["gateway"] = "gateway"
    name: str
    version: str
    started_at: datetime
    now: datetime
    life: Life = Life.RUNNING
    ready: bool
    source: SourceStatus
    resources: tuple[ResourceStatus, ...]
    warnings: tuple[str, ...] = ()  # what is wrong though all that is declared is in force
    tunnels: tuple[TunnelStatus, ...]
    clients: tuple[SessionStatus, ...]


class ClientAgentStatus(_Report):
    role: Literal["client"] = "client"
    name: str
    version: str
    started_at: datetime
    now: datetime
    life: Life = Life.RUNNING
    ready: bool
    source: SourceStatus
    resources: tuple[ResourceStatus, ...]
    warnings: tuple[str, ...] = ()  # what is wrong though all that is declared is in force
    links: tuple[LinkStatus, ...]
    services: tuple[ServiceStatus, ...]
    tunnels: tuple[OwnTunnelStatus, ...] = ()
    socks5: Socks5Status | None = None


AgentStatus: TypeAlias = Annotated[GatewayStatus | ClientAgentStatus, Field(discriminator="role")]
