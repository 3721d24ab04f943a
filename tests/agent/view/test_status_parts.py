"""What the status of each role says, before it is laid out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agent.view.rates import Rate
from agent.view.sections import Section
from agent.view.status_parts import clients, failures, headline, links, services, tunnels
from schemas.status import (
    ConditionType,
    Life,
    LinkPhase,
    RefusalStatus,
    ResourceStatus,
    ServiceHealth,
    Socks5Status,
    Standing,
    Traffic,
    TunnelClient,
)
from tests.support import statuses


def texts(section: Section, entry: int) -> dict[str, str]:
    """The cells of an entry by the title of their column."""
    return {
        column.title: cell.text
        for column, cell in zip(section.columns, section.entries[entry].cells(), strict=True)
    }


def test_every_section_has_a_cell_for_every_column() -> None:
    gateway, client = statuses.three(), statuses.client()
    for section in (
        tunnels(gateway, None),
        tunnels(gateway, {}),
        clients(gateway),
        links(client),
        services(client, None),
        services(client, {}),
        clients(statuses.spread()),
        links(statuses.spread_client()),
    ):
        assert all(len(entry.cells()) == len(section.columns) for entry in section.entries)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("AddressInUse", "Address in use"),
        ("ClientAway", "Client away"),
        ("Pending", "Pending"),
        ("", "Not ready"),
    ],
)
def test_the_state_is_the_reason_in_words(reason: str, words: str) -> None:
    section = tunnels(statuses.gateway(statuses.tunnel("x", trouble=(reason, "because."))), None)

    assert texts(section, 0)["STATE"] == words
    assert section.entries[0].trouble == "because."


def test_the_first_condition_that_fails_is_the_one_that_is_told() -> None:
    tunnel = statuses.tunnel("x", trouble=statuses.AWAY)
    conditions = tuple(
        condition.model_copy(update={"status": False, "reason": "ClientNotDeclared", "message": "list it."})
        if condition.type is ConditionType.ACCEPTED
        else condition
        for condition in tunnel.conditions
    )
    section = tunnels(statuses.gateway(tunnel.model_copy(update={"conditions": conditions})), None)

    assert texts(section, 0)["STATE"] == "Client not declared"
    assert section.entries[0].trouble == "list it."


def test_a_tunnel_without_conditions_is_pending() -> None:
    tunnel = statuses.tunnel("x").model_copy(update={"conditions": ()})

    assert texts(tunnels(statuses.gateway(tunnel), None), 0)["STATE"] == "Pending"


@pytest.mark.parametrize(
    ("listen", "shown"),
    [
        (["0.0.0.0:443", "[::]:443"], ":443"),
        (["[::]:443", "0.0.0.0:443"], ":443"),
        (["0.0.0.0:443"], "0.0.0.0:443"),
        (["0.0.0.0:443", "[::]:80"], "0.0.0.0:443, [::]:80"),
        (["0.0.0.0:443", "[::]:443", "127.0.0.1:80"], ":443, 127.0.0.1:80"),
    ],
)
def test_a_port_of_both_families_is_spelled_as_in_state_files(listen: list[str], shown: str) -> None:
    assert texts(tunnels(statuses.gateway(statuses.tunnel("x", listen)), None), 0)["LISTEN"] == shown


def test_an_address_that_is_too_long_keeps_its_port() -> None:
    cell = tunnels(statuses.gateway(statuses.tunnel("x", "[2001:db8::1]:443")), None).entries[0].cells()[1]

    assert cell.fitted(10) == "[2001…:443"


def test_one_status_shows_totals_and_two_show_rates() -> None:
    traffic = Traffic(open=1, total=9, bytes_in=1000, bytes_out=2000)
    status = statuses.gateway(statuses.tunnel("x", traffic=traffic))

    once = texts(tunnels(status, None), 0)
    live = texts(tunnels(status, {"x": Rate(bytes_in=5, bytes_out=7)}), 0)

    assert (once["IN"], once["OUT"], "IN/s" in once) == ("1.0kB", "2.0kB", False)
    assert (live["IN/s"], live["OUT/s"], live["OUT"]) == ("5B", "7B", "2.0kB")


def test_only_failures_that_no_table_shows_are_told_apart() -> None:
    resources = [
        ResourceStatus(kind=kind, name="0.0.0.0:1", phase=phase, message="taken")
        for kind, phase in [("listener", "failed"), ("control", "failed"), ("management", "open")]
    ]

    assert failures(statuses.gateway(resources=resources)) == ["control 0.0.0.0:1: taken"]


def test_warnings_are_told_of_an_agent_that_is_ready() -> None:
    status = statuses.client().model_copy(update={"warnings": ("the key is not there",)})
    assert failures(status) == ["the key is not there"]


def test_a_link_says_when_it_is_tried_again_and_why_it_is_down() -> None:
    section = links(statuses.client())

    assert texts(section, 0)["STATE"] == LinkPhase.CONNECTED.value
    assert (texts(section, 1)["STATE"], texts(section, 1)["NEXT ATTEMPT"]) == ("Waiting", "in 12s")
    assert [entry.is_fine for entry in section.entries] == [True, False]


def test_the_addresses_of_a_gateway_are_told_apart_where_its_name_has_some() -> None:
    status = statuses.client()
    one, two = status.links
    named = [
        one.model_copy(update={"address": "192.0.2.1"}),
        one.model_copy(update={"address": "2001:db8::1", "phase": LinkPhase.STANDBY, "message": "a spare"}),
        two,
    ]
    section = links(status.model_copy(update={"links": tuple(named)}))

    assert "ADDRESS" not in texts(links(status), 0)
    assert [texts(section, entry)["ADDRESS"] for entry in range(3)] == ["192.0.2.1", "2001:db8::1", "-"]
    assert texts(section, 1)["STATE"] == "Standby"
    assert [entry.is_fine for entry in section.entries] == [True, True, False]
    assert section.entries[0].name == "gw1.example.com:9056 at 192.0.2.1"


def test_the_proxy_on_the_way_is_shown_where_there_is_one() -> None:
    status = statuses.client()
    one, two = status.links
    section = links(
        status.model_copy(update={"links": (one.model_copy(update={"via": "http://proxy:3128"}), two)})
    )

    assert "VIA" not in texts(links(status), 0)
    assert [texts(section, entry)["VIA"] for entry in range(2)] == ["http://proxy:3128", "-"]


def test_the_sessions_of_a_gateway_are_told_apart_where_there_are_several() -> None:
    one, several = links(statuses.client()), links(statuses.spread_client())

    assert "SESSION" not in texts(one, 0)
    assert [texts(several, entry)["SESSION"] for entry in range(6)] == ["1", "2", "3", "1", "2", "3"]
    assert one.entries[1].name == "gw2.example.com:9056"
    assert several.entries[1].name == "gw1.example.com:9056 #2"


def test_the_sessions_of_clients_are_counted_where_one_has_several() -> None:
    one, several = clients(statuses.three()), clients(statuses.spread())

    assert "SESSIONS" not in texts(one, 0)
    assert [texts(several, entry)["SESSIONS"] for entry in range(3)] == ["3", "0", "1"]


def test_a_client_that_is_away_is_not_fine() -> None:
    section = clients(statuses.three())

    assert [entry.is_fine for entry in section.entries] == [False, True]
    assert texts(section, 0)["FOR"] == "5m 3s"


def test_the_headline_begins_with_who_it_is_and_how_it_is() -> None:
    status = statuses.gateway(now=statuses.START + timedelta(seconds=5))

    assert [cell.text for cell in headline(status)] == [
        "gw1",
        "gateway",
        "Ready",
        "generation 3 in force",
        "up 5s",
        "tidegate 0.1.0",
    ]


@pytest.mark.parametrize(
    ("troubled", "told"), [([], []), ([0], ["2 of 3 tunnels ready"]), ([0, 1, 2], ["0 of 3 tunnels ready"])]
)
def test_the_headline_counts_the_tunnels_that_are_ready_unless_all_are(
    troubled: list[int], told: list[str]
) -> None:
    texts = [cell.text for cell in headline(statuses.many(3, troubled=troubled))]

    assert texts[2] == (told[0] if told else "Ready")
    assert [text for text in texts if "tunnel" in text] == told


def test_an_agent_that_drains_says_so_in_place_of_whether_it_is_ready() -> None:
    status = statuses.gateway().model_copy(update={"life": Life.DRAINING, "ready": False})

    assert [cell.text for cell in headline(status)][2] == "Draining"


def test_a_client_that_drains_is_shown_as_that_and_is_not_fine() -> None:
    status = statuses.three()
    draining = [client.model_copy(update={"draining": client.connected}) for client in status.clients]
    section = clients(status.model_copy(update={"clients": tuple(draining)}))

    assert [texts(section, entry)["STATE"] for entry in range(2)] == ["Away", "Draining"]
    assert not any(entry.is_fine for entry in section.entries)


def test_a_client_that_is_away_says_why_it_was_refused_until_it_is_here() -> None:
    status = statuses.three()
    refused = RefusalStatus(
        at=status.now - timedelta(seconds=12),
        reason="its certificate has been revoked",
        address="192.0.2.1:5",
        serial="4f:2a",
        fingerprint="5e" * 32,
    )
    told = [client.model_copy(update={"refused": refused}) for client in status.clients]
    section = clients(status.model_copy(update={"clients": tuple(told)}))

    assert [entry.trouble for entry in section.entries] == [
        "refused 12s ago, because its certificate has been revoked",
        "",
    ]
    assert section.has_messages
    assert not clients(status).has_messages


def test_a_link_that_drains_says_why_and_one_that_is_connected_may_have_something_to_say_too() -> None:
    status = statuses.client()
    said = [
        link.model_copy(update={"phase": phase, "message": "for a reason"})
        for link, phase in zip(status.links, (LinkPhase.DRAINING, LinkPhase.CONNECTED), strict=True)
    ]
    section = links(status.model_copy(update={"links": tuple(said)}))

    assert [texts(section, entry)["STATE"] for entry in range(2)] == ["Draining", "Connected"]
    assert [entry.trouble for entry in section.entries] == ["for a reason"] * 2


def test_a_service_that_its_health_check_has_withdrawn_says_so() -> None:
    smtp, web = statuses.client().services
    failing = smtp.model_copy(update={"health": ServiceHealth.FAILS})
    section = services(statuses.client().model_copy(update={"services": (failing, web)}), None)

    assert texts(section, 0)["LAST ERROR"].startswith("not offered: unix:/run/smtp.sock does not exist")
    assert [entry.is_fine for entry in section.entries] == [False, True]


def test_a_tunnel_whose_client_is_doubted_is_ready_and_says_so_while_it_lasts() -> None:
    status = statuses.three()
    there = tuple(
        TunnelClient(id=name, standing=standing, visitors=0)
        for name, standing in (("homelab", Standing.DOUBTED), ("office", Standing.SERVES))
    )
    doubted = status.tunnels[0].model_copy(update={"client": ("homelab", "office"), "clients": there})
    (entry,) = tunnels(status.model_copy(update={"tunnels": (doubted,)}), None).entries

    assert entry.is_fine
    assert entry.trouble.startswith("homelab is connected but has not served a visitor lately")


def test_a_client_with_a_socks5_port_alone_is_not_said_to_have_services() -> None:
    port = Socks5Status(listen="127.0.0.1:1080", user=None, last_error=None, traffic=Traffic())
    resource = ResourceStatus(kind="socks5", name=port.listen, phase="open", message="")
    status = statuses.client().model_copy(update={"services": (), "resources": (resource,)})

    section = services(status.model_copy(update={"socks5": port}), None)
    assert (section.columns[0].title, len(section.entries)) == ("PORT", 1)
    assert services(status, None).empty == "The SOCKS5 port is not open."


def test_the_socks5_port_of_a_client_stands_below_its_services() -> None:
    port = Socks5Status(
        listen="127.0.0.1:1080",
        user="mail",
        last_error="mx.example:25: connection refused",
        traffic=Traffic(open=2, total=9, bytes_in=1000, bytes_out=2000),
    )
    section = services(statuses.client().model_copy(update={"socks5": port}), None)
    *_, entry = section.entries

    assert [cell.text for cell in entry.cells()] == [
        "(SOCKS5)", "127.0.0.1:1080", "2", "1.0kB", "2.0kB", "9", "mx.example:25: connection refused",
    ]  # fmt: skip
    assert len(section.entries) == len(services(statuses.client(), None).entries) + 1
