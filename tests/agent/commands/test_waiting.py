"""How far everything is that somebody waits for, read from one status."""

from __future__ import annotations

import pytest

from agent.commands.waiting import UnknownNameError, awaited, tell_missing
from schemas.errors import TidegateError
from schemas.status import (
    AgentStatus,
    ClientAgentStatus,
    ConditionType,
    GatewayStatus,
    LinkPhase,
    LinkStatus,
    OwnTunnelStatus,
    ProblemStatus,
    Renewal,
    SourceStatus,
    TunnelStatus,
)
from tests.support.statuses import AWAY, NOW, START, tunnel

PROBLEM = ProblemStatus(
    file="gateway.yaml", line=3, col=7, message="write a port", text="gateway.yaml:3:7: write a port"
)


def source(*, accepted: bool = True, in_force: bool = True) -> SourceStatus:
    return SourceStatus(
        path="gateway.yaml",
        generation=4,
        observed_generation=4 if in_force else 3,
        digest="ab",
        loaded_at=START,
        accepted=accepted,
        problems=() if accepted else (PROBLEM, PROBLEM),
    )


def gateway(*tunnels: TunnelStatus, accepted: bool = True, in_force: bool = True) -> GatewayStatus:
    return GatewayStatus(
        name="gw1",
        version="0",
        started_at=START,
        now=NOW,
        ready=True,
        source=source(accepted=accepted, in_force=in_force),
        resources=(),
        tunnels=tunnels,
        clients=(),
    )


def link(gateway: str, phase: LinkPhase, *, session: int = 1, message: str = "") -> LinkStatus:
    return LinkStatus(
        gateway=gateway,
        session=session,
        phase=phase,
        message=message,
        since=NOW,
        attempts=0,
        next_attempt_at=NOW if phase is LinkPhase.WAITING else None,
    )


def client(*links: LinkStatus) -> ClientAgentStatus:
    return ClientAgentStatus(
        name="homelab",
        version="0",
        started_at=START,
        now=NOW,
        ready=True,
        source=source(),
        resources=(),
        links=links,
        services=(),
    )


def told(
    status: AgentStatus, *names: str, condition: ConditionType = ConditionType.READY
) -> list[tuple[bool, str]]:
    return [(one.is_met, one.text) for one in awaited(status, condition, names)]


BLOG = tunnel("blog")
MAIL = tunnel("mail", trouble=AWAY)


def test_without_names_the_file_and_every_tunnel_are_waited_for() -> None:
    assert told(gateway(BLOG, MAIL)) == [
        (True, "gateway.yaml is in force, generation 4"),
        (True, "blog is Ready"),
        (False, f"mail is not Ready: {AWAY[1]}"),
    ]


def test_with_names_nothing_else_matters() -> None:
    assert told(gateway(BLOG, MAIL, in_force=False), "blog") == [(True, "blog is Ready")]


def test_each_condition_is_its_own() -> None:
    status = gateway(MAIL)

    assert told(status, "mail", condition=ConditionType.PROGRAMMED) == [(True, "mail is Programmed")]
    assert told(status, "mail", condition=ConditionType.RESOLVED_REFS)[0][0] is False


def test_a_file_that_is_refused_or_not_in_force_yet_is_not_met() -> None:
    refused, pending = gateway(BLOG, accepted=False), gateway(BLOG, in_force=False)

    assert told(refused)[0] == (
        False,
        "gateway.yaml is not in force: the newest state is refused, gateway.yaml:3:7: write a port "
        "(and 1 more problem)",
    )
    assert told(pending)[0] == (
        False,
        "gateway.yaml is not in force: generation 4 is not, as a whole",
    )


def test_a_name_that_is_not_there_is_an_error_with_a_guess() -> None:
    with pytest.raises(UnknownNameError, match=r'^there is no tunnel "blgo"; did you mean blog\?$'):
        told(gateway(BLOG), "blog", "blgo")
    with pytest.raises(UnknownNameError, match="tidegate status shows those there are"):
        told(gateway(BLOG), "x")


def test_a_name_that_may_stand_in_a_refused_file_is_waited_for() -> None:
    assert told(gateway(BLOG, accepted=False), "new") == [
        (
            False,
            "new is not declared yet: the newest state is refused, gateway.yaml:3:7: write a port "
            "(and 1 more problem)",
        )
    ]


def test_a_gateway_without_tunnels_has_nothing_to_wait_for_but_its_file() -> None:
    assert told(gateway()) == [(True, "gateway.yaml is in force, generation 4")]


def test_a_gateway_is_not_ready_by_the_settings_of_before_nor_without_a_tunnel() -> None:
    up, spare = link("gw1:9056", LinkPhase.CONNECTED), link("gw1:9056", LinkPhase.STANDBY)
    old = up.model_copy(update={"renewal": Renewal.FAILED, "message": "still on those of before"})
    tunnel = OwnTunnelStatus(
        gateway="gw1:9056", name="t", listen=(), hostname=(), service="s", in_force=False, message="taken"
    )

    assert told(client(old), "gw1:9056") == [(False, "gw1:9056 is not Ready: still on those of before")]
    assert told(client(spare, old), "gw1:9056") == [
        (False, "gw1:9056 is not Ready: still on those of before")
    ]
    assert told(client(up).model_copy(update={"tunnels": (tunnel,)}), "gw1:9056") == [
        (False, "gw1:9056 is not Ready: the tunnel t is not in force there: taken")
    ]


def test_how_much_is_missing_is_told_by_what_it_is() -> None:
    up, down = link("gw1:9056", LinkPhase.CONNECTED), link("gw2:9056", LinkPhase.WAITING)

    assert tell_missing(awaited(client(up, down), ConditionType.READY, ())) == (
        "1 of 3 (the state file and 2 gateways) is not so"
    )
    assert tell_missing(awaited(client(up, down), ConditionType.READY, ("gw2:9056",))) == "it is not so"
    assert tell_missing(awaited(gateway(MAIL, accepted=False), ConditionType.READY, ())) == (
        "2 of 2 (the state file and 1 tunnel) are not so"
    )


def test_a_clients_gateway_is_ready_when_every_session_to_it_is_connected() -> None:
    up = link("gw1:9056", LinkPhase.CONNECTED)
    down = link("gw1:9056", LinkPhase.WAITING, session=2, message="it refuses")

    assert told(client(up), "gw1:9056") == [(True, "gw1:9056 is Ready")]
    assert told(client(up, down))[1:] == [(False, "gw1:9056 (session 2) is not Ready: Waiting: it refuses")]


@pytest.mark.parametrize("phase", [LinkPhase.CONNECTED, LinkPhase.STANDBY])
def test_a_gateway_is_ready_when_it_is_reached_at_one_of_its_addresses(phase: LinkPhase) -> None:
    up = link("gw1:9056", phase)
    down = link("gw1:9056", LinkPhase.WAITING, message="the network is unreachable")

    assert told(client(down, up), "gw1:9056") == [(True, "gw1:9056 is Ready")]


def test_a_client_has_gateways_and_only_ready() -> None:
    status = client(link("gw1:9056", LinkPhase.CONNECTED))

    with pytest.raises(UnknownNameError, match='there is no gateway "blog"'):
        told(status, "blog")
    with pytest.raises(TidegateError, match="wait for Ready"):
        told(status, condition=ConditionType.PROGRAMMED)
