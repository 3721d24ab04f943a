"""Made-up statuses of agents, small, large and hostile, for whatever draws or serves them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from schemas.status import (
    ClientAgentStatus,
    Condition,
    ConditionType,
    GatewayStatus,
    LinkPhase,
    LinkStatus,
    OwnTunnelStatus,
    ProblemStatus,
    ResourceStatus,
    ServiceStatus,
    SessionStatus,
    Socks5Status,
    SourceStatus,
    Traffic,
    TunnelStatus,
)

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
START = NOW - timedelta(hours=2, minutes=14)

AWAY = ("ClientAway", "homelab is not connected: start the client, or look at its log.")
TAKEN = (
    "AddressInUse",
    "0.0.0.0:25 is not open: another program has this port. It is tried again by itself.",
)


def tunnel(
    name: str,
    listen: str | Sequence[str] = "0.0.0.0:443",
    *,
    hostname: Sequence[str] = (),
    client: Sequence[str] = ("homelab",),
    service: str = "web",
    trouble: tuple[str, str] | None = None,
    serving: str | None = None,
    traffic: Traffic | None = None,
) -> TunnelStatus:
    """A tunnel that is Ready, or has the given reason and message."""
    failing = ConditionType.RESOLVED_REFS if trouble and "Client" in trouble[0] else ConditionType.PROGRAMMED
    conditions = tuple(
        Condition(
            type=kind,
            status=(holds := trouble is None or kind not in (failing, ConditionType.READY)),
            reason=kind.value if holds or trouble is None else trouble[0],
            message="" if holds or trouble is None else trouble[1],
            observed_generation=3,
            since=START,
        )
        for kind in ConditionType
    )
    return TunnelStatus(
        name=name,
        listen=(listen,) if isinstance(listen, str) else tuple(listen),
        hostname=tuple(hostname),
        client=tuple(client),
        service=service,
        proxy_protocol="off",
        declared_by=None,
        serving_client=serving or (client[0] if trouble is None else None),
        conditions=conditions,
        traffic=traffic or Traffic(),
    )


def session(
    client: str, *, connected: bool = True, services: Sequence[str] = ("web",), sessions: int = 1
) -> SessionStatus:
    return SessionStatus(
        id=client,
        connected=connected,
        declared=True,
        since=NOW - timedelta(minutes=5, seconds=3),
        sessions=sessions if connected else 0,
        address="203.0.113.7:40712" if connected else None,
        software="tidegate/0.1.0" if connected else None,
        services=tuple(services) if connected else (),
        traffic=Traffic(open=4 if connected else 0),
    )


def source(
    *, path: str = "gateway.yaml", generation: int = 3, observed: int = 3, problems: int = 0
) -> SourceStatus:
    return SourceStatus(
        path=path,
        generation=generation,
        observed_generation=observed,
        digest="0" * 64,
        loaded_at=START,
        problems=tuple(
            ProblemStatus(
                file=path,
                line=line,
                col=5,
                message='unknown key "lisen"; did you mean "listen"?',
                text=f'{path}:{line}:5: unknown key "lisen"; did you mean "listen"?',
            )
            for line in range(12, 12 + problems)
        ),
    )


def gateway(
    *tunnels: TunnelStatus,
    clients: Sequence[SessionStatus] = (),
    resources: Sequence[ResourceStatus] = (),
    state: SourceStatus | None = None,
    name: str = "gw1",
    ready: bool = True,
    now: datetime = NOW,
) -> GatewayStatus:
    return GatewayStatus(
        name=name,
        version="0.1.0",
        started_at=START,
        now=now,
        ready=ready,
        source=state or source(),
        resources=tuple(resources),
        tunnels=tunnels,
        clients=tuple(clients),
    )


def three() -> GatewayStatus:
    """An ordinary gateway: one tunnel by hostname, one whose port is taken, one whose client is away."""
    return gateway(
        tunnel(
            "blog",
            hostname=["blog.example.com", "*.blog.example.com"],
            client=["homelab", "office"],
            traffic=Traffic(open=3, total=1204, bytes_in=1_200_000, bytes_out=34_000_000),
        ),
        tunnel("mail", "0.0.0.0:25", client=["office"], service="smtp", trouble=TAKEN),
        tunnel("ssh", ["0.0.0.0:22", "[::]:22"], service="ssh", trouble=AWAY),
        clients=[session("homelab", connected=False), session("office", services=["smtp", "web"])],
        state=source(generation=4),
        ready=False,
    )


def spread() -> GatewayStatus:
    """A gateway to which one client keeps three sessions, another one, and a third one none now."""
    return gateway(
        tunnel("blog", client=["homelab", "office"]),
        clients=[session("homelab", sessions=3), session("lab", connected=False), session("office")],
    )


def pairs(count: int = 5) -> GatewayStatus:
    """A gateway whose tunnels have two clients each, long names and ports of their own on one address."""
    return gateway(
        *(
            tunnel(
                f"customer-frontend-{index}",
                f"127.0.0.1:{22440 + index}",
                client=["homelab-primary", "office-secondary"],
                service="frontend-https",
                traffic=Traffic(open=index, total=1204 * index, bytes_in=1_200_000, bytes_out=34_000_000),
            )
            for index in range(count)
        ),
        clients=[
            session("homelab-primary", services=["frontend-https", "smtp-in", "smtp-out"]),
            session("office-secondary", services=["frontend-https"]),
        ],
    )


def many(count: int = 200, *, troubled: Sequence[int] = (17, 180)) -> GatewayStatus:
    """A large gateway: a few tunnels are not Ready, and a few are busy."""
    return gateway(
        *(
            tunnel(
                f"site-{index:03}",
                hostname=[f"site-{index:03}.customers.example.com", f"www.site-{index:03}.example.com"],
                client=[f"rack-{index % 7}"],
                service=f"web-{index:03}",
                trouble=AWAY if index in troubled else None,
                traffic=Traffic(open=index % 5, total=index * 31, bytes_in=index**3, bytes_out=index**4),
            )
            for index in range(count)
        ),
        clients=[session(f"rack-{index}", connected=index != 2) for index in range(7)],
    )


def hostile() -> GatewayStatus:
    """Names as long as they may be, wide letters, and texts that try to take over the terminal."""
    evil = "\x1b[2J\x1b[31m[bold red]\u202e"
    return gateway(
        tunnel(
            "production-europe-west-customers-frontend-blue",
            "[2001:db8:85a3:8d3:1319:8a2e:370:7348]:65535",
            hostname=["a-very-long-label.of-a-very-long-name.customers.example.com", "b.example.com"],
            client=["a-client-with-quite-a-long-name-of-its-own", "another", "third"],
            service="a-service-with-a-long-name-too",
            traffic=Traffic(open=12345, total=10**9, bytes_in=10**15, bytes_out=999_499),
        ),
        tunnel("日本語のトンネル", hostname=["ブログ.example.jp"], client=["東京"], service="ウェブ"),
        tunnel("evil", service=evil, trouble=("Strange", f"said {evil}\nthe end")),
        clients=[
            session("日本語", services=["ウェブ"]).model_copy(update={"software": evil, "address": evil})
        ],
        resources=[
            ResourceStatus(
                kind="control",
                name="0.0.0.0:9056",
                phase="failed",
                message="another program has this port; stop it or change control",
            )
        ],
        state=source(path="/etc/tidegate/a directory/gateway.yaml", generation=3, observed=2, problems=10),
        name=evil,
        ready=False,
    )


def client(*, connected: bool = True) -> ClientAgentStatus:
    """A client with two gateways, of which the second, or neither, does not answer."""
    away = LinkStatus(
        gateway="gw2.example.com:9056",
        session=1,
        phase=LinkPhase.WAITING,
        message="gw2.example.com:9056 refused the connection: is the gateway running there?",
        since=NOW - timedelta(seconds=95),
        attempts=6,
        next_attempt_at=NOW + timedelta(seconds=12),
    )
    there = LinkStatus(
        gateway="gw1.example.com:9056",
        session=1,
        phase=LinkPhase.CONNECTED,
        message="",
        since=START,
        attempts=0,
        next_attempt_at=None,
    )
    return ClientAgentStatus(
        name="homelab",
        version="0.1.0",
        started_at=START,
        now=NOW,
        ready=connected,
        source=source(path="client.yaml", generation=1, observed=1),
        resources=(),
        links=(there if connected else away.model_copy(update={"gateway": "gw1.example.com:9056"}), away),
        services=(
            ServiceStatus(
                name="smtp",
                target="unix:/run/smtp.sock",
                last_error="unix:/run/smtp.sock does not exist: is the service running?",
                traffic=Traffic(),
            ),
            ServiceStatus(
                name="web",
                target="127.0.0.1:8443",
                last_error=None,
                traffic=Traffic(open=3, total=1204, bytes_in=1_200_000, bytes_out=34_000_000),
            ),
        ),
    )


def reaching_client() -> ClientAgentStatus:
    """A client with a gateway of two addresses behind a proxy, a SOCKS5 port and tunnels of its own."""
    status = client()
    there, _ = status.links
    return status.model_copy(
        update={
            "links": tuple(
                there.model_copy(
                    update={"address": f"203.0.113.{number}:9056", "via": "http://proxy.example.com:3128"}
                )
                for number in (7, 8)
            ),
            "socks5": Socks5Status(
                listen="127.0.0.1:21080", user="mail", last_error=None, traffic=Traffic(open=1, total=9)
            ),
            "tunnels": tuple(
                OwnTunnelStatus(
                    gateway=there.gateway,
                    name=name,
                    listen=listen,
                    hostname=(),
                    service="web",
                    in_force=message == "",
                    message=message,
                )
                for name, listen, message in (
                    ("customer-frontend", ("0.0.0.0:26100", "[::]:26100"), ""),
                    ("customer-backend", ("127.0.0.1:26101",), "the port 26101 has another tunnel"),
                )
            ),
        }
    )


def spread_client() -> ClientAgentStatus:
    """A client with three sessions to each of two gateways, of which one has lost one and the other all."""
    status = client()
    there, away = status.links
    lost = away.model_copy(
        update={
            "gateway": there.gateway,
            "session": 2,
            "message": "nothing was heard for 10 s after a ping",
            "attempts": 0,
            "next_attempt_at": NOW + timedelta(seconds=1),
        }
    )
    return status.model_copy(
        update={
            "ready": False,
            "links": (
                there,
                lost,
                there.model_copy(update={"session": 3}),
                *(away.model_copy(update={"session": number}) for number in (1, 2, 3)),
            ),
        }
    )
