"""How far a client is with its gateways after a change of its file."""

from __future__ import annotations

import pytest

from agent.commands.reaching import Shortfall, links_by_gateway, shortfalls
from schemas.parse import parse_client
from schemas.state import ClientState
from schemas.status import ClientAgentStatus, LinkPhase, LinkStatus, OwnTunnelStatus, Renewal
from schemas.text import Syntax, read_document
from tests.support.statuses import client as client_status

TLS = "tls: {cert: c, key: k, ca: a}"
TUNNEL = "services: {web: 'h:1'}\ntunnels: [{name: blog, listen: ':1', service: web}]\n"


def state(settings: str = "", more: str = "") -> ClientState:
    text = f"tidegate: 1\nclient: {{id: homelab, gateways: [gw1:1, gw2:1], {TLS} {settings}}}\n{more}"
    return parse_client([read_document(text.encode(), name="c", directory="/", syntax=Syntax.YAML)])


PLAIN = state()
WITH_PROXY = state(", proxy: 'http://proxy:1'")


def link(
    gateway: str,
    phase: LinkPhase = LinkPhase.CONNECTED,
    renewal: Renewal = Renewal.DONE,
    *,
    message: str = "",
    session: int = 1,
) -> LinkStatus:
    update = {"gateway": gateway, "phase": phase, "renewal": renewal, "message": message, "session": session}
    return client_status().links[0].model_copy(update=update)


def status(*links: LinkStatus, tunnels: tuple[OwnTunnelStatus, ...] = ()) -> ClientAgentStatus:
    return client_status().model_copy(update={"links": links, "tunnels": tunnels})


def tunnel(*, answered: bool) -> OwnTunnelStatus:
    return OwnTunnelStatus(
        gateway="gw1:1",
        name="blog",
        listen=(":1",),
        hostname=(),
        service="web",
        answered=answered,
        in_force=False,
        message="taken",
    )


def found(before: ClientState | None, after: ClientState, now: ClientAgentStatus) -> list[Shortfall]:
    return list(shortfalls(before, after, now))


ONE, TWO = link("gw1:1"), link("gw2:1")
DOWN = link("gw2:1", LinkPhase.WAITING, message="nothing listens there")


def test_the_links_of_a_file_are_told_by_gateway() -> None:
    assert {name: len(specs) for name, specs in links_by_gateway(state(", sessions: 2")).items()} == {
        "gw1:1": 2,
        "gw2:1": 2,
    }
    assert links_by_gateway(None) == {}


def test_nothing_is_missing_where_all_is_reached() -> None:
    assert found(PLAIN, WITH_PROXY, status(ONE, TWO)) == []


def test_a_gateway_that_was_away_before_is_missed_only_where_its_settings_have_changed() -> None:
    assert found(PLAIN, PLAIN, status(ONE, DOWN)) == []
    assert found(PLAIN, WITH_PROXY, status(ONE, DOWN)) == [
        Shortfall(gateway="gw2:1", message="not reached: nothing listens there", is_under_way=False)
    ]


@pytest.mark.parametrize("before", [PLAIN, WITH_PROXY], ids=["changed now", "changed earlier"])
def test_a_gateway_that_is_reached_by_the_settings_of_before_is_missed(before: ClientState) -> None:
    old = link("gw1:1", renewal=Renewal.FAILED, message="still on those of before")

    (missing,) = found(before, WITH_PROXY, status(old, TWO))
    assert missing == Shortfall(gateway="gw1:1", message="still on those of before", is_under_way=False)
    assert missing.resource == "link gw1:1"


@pytest.mark.parametrize(
    "passing",
    [
        link("gw1:1", renewal=Renewal.PENDING),
        link("gw1:1", LinkPhase.DRAINING, Renewal.PENDING),
        link("gw1:1", LinkPhase.CONNECTING),
    ],
    ids=["being renewed", "ended by the gateway", "dialed"],
)
def test_what_may_still_come_is_told_from_what_has_failed(passing: LinkStatus) -> None:
    assert [one.is_under_way for one in found(PLAIN, WITH_PROXY, status(passing, TWO))] == [True]


def test_one_address_that_is_reached_is_enough_and_one_that_is_tried_may_be() -> None:
    bad = link("gw1:1", LinkPhase.WAITING, message="no route")

    assert found(PLAIN, WITH_PROXY, status(bad, ONE, TWO)) == []
    (missing,) = found(PLAIN, WITH_PROXY, status(bad, link("gw1:1", LinkPhase.CONNECTING), TWO))
    assert (missing.message, missing.is_under_way) == ("not reached: no route", True)


def test_each_session_counts() -> None:
    second = link("gw1:1", LinkPhase.REFUSED, message="refused", session=2)

    (missing,) = found(PLAIN, WITH_PROXY, status(ONE, second, TWO))
    assert missing.message == "session 2: not reached: refused"


def test_a_tunnel_that_its_gateway_refuses_is_missed_and_one_without_an_answer_may_come() -> None:
    after = state("", TUNNEL)

    (missing,) = found(after, after, status(ONE, TWO, tunnels=(tunnel(answered=True),)))
    assert (missing.message, missing.is_under_way) == ("not in force at gw1:1: taken", False)
    assert missing.resource == "tunnel blog"
    (missing,) = found(after, after, status(ONE, TWO, tunnels=(tunnel(answered=False),)))
    assert missing.is_under_way


def test_a_new_tunnel_that_there_is_no_gateway_for_is_missed() -> None:
    after, none = state("", TUNNEL), status(link("gw1:1", LinkPhase.WAITING), DOWN)

    (missing,) = found(PLAIN, after, none)
    assert "no gateway is reached" in missing.message
    assert not missing.is_under_way
    assert found(after, after, none) == []
