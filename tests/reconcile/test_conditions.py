"""How one tunnel is doing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reconcile.conditions import ClientsView, serving_client, tunnel_conditions
from reconcile.desired import Key, ListenerSpec, listener_key, resources
from reconcile.observed import Observed, ObservedState, Phase
from schemas.names import ClientId, ServiceName
from schemas.state import Tunnel
from schemas.status import Condition, ConditionType

from .samples import gateway_state, tunnel

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BLOG = tunnel("blog", "0.0.0.0:443", "0.0.0.0:8443", client=("homelab", "office"))
FIRST, SECOND = (listener_key(address) for address in BLOG.listen)


def view(admitted: Iterable[str] | None = None, **offers: tuple[str, ...]) -> ClientsView:
    return ClientsView(
        admitted=None if admitted is None else frozenset(ClientId(one) for one in admitted),
        offers={
            ClientId(client): frozenset(ServiceName(one) for one in services)
            for client, services in offers.items()
        },
    )


def opened(*tunnels: Tunnel) -> dict[Key, Observed]:
    return {
        key: Observed(spec=spec, phase=Phase.OPEN)
        for key, spec in resources(gateway_state(*tunnels)).items()
        if isinstance(spec, ListenerSpec)
    }


ALL_WELL = view(homelab=("web",))


def conditions(
    one: Tunnel = BLOG,
    *,
    listeners: ObservedState | None = None,
    clients: ClientsView = ALL_WELL,
    previous: Iterable[Condition] = (),
    generation: int = 7,
    now: datetime = NOON,
) -> dict[ConditionType, Condition]:
    found = tunnel_conditions(
        one,
        generation=generation,
        listeners=opened(one) if listeners is None else listeners,
        clients=clients,
        previous=previous,
        now=now,
    )
    assert [condition.type for condition in found] == list(ConditionType)
    return {condition.type: condition for condition in found}


def brief(condition: Condition) -> tuple[bool, str, str]:
    return condition.status, condition.reason, condition.message


def test_a_tunnel_that_works_is_ready_in_every_respect() -> None:
    found = conditions()

    assert all(condition.status for condition in found.values())
    assert [condition.reason for condition in found.values()] == [
        "Accepted",
        "Programmed",
        "ResolvedRefs",
        "Ready",
    ]
    assert {condition.observed_generation for condition in found.values()} == {7}
    assert {condition.since for condition in found.values()} == {NOON}


def test_a_tunnel_of_undeclared_clients_is_not_accepted() -> None:
    found = conditions(clients=view(admitted=("guest",)))

    assert brief(found[ConditionType.ACCEPTED]) == (
        False,
        "ClientNotDeclared",
        "None of homelab, office may connect: list it under clients in the state file.",
    )
    assert found[ConditionType.READY].reason == "ClientNotDeclared"


def test_one_client_that_may_connect_is_enough_to_be_accepted() -> None:
    assert conditions(clients=view(admitted=("office",)))[ConditionType.ACCEPTED].status


def test_a_listener_that_is_not_there_yet_is_pending() -> None:
    found = conditions(listeners={})

    assert brief(found[ConditionType.PROGRAMMED]) == (
        False,
        "Pending",
        "0.0.0.0:443 is not open yet; wait a moment. 0.0.0.0:8443 is not open yet; wait a moment.",
    )


@pytest.mark.parametrize("phase", [Phase.OPENING, Phase.CLOSING])
def test_a_listener_in_flight_is_pending(phase: Phase) -> None:
    listeners = opened(BLOG)
    listeners[FIRST] = Observed(spec=listeners[FIRST].spec, phase=phase)

    assert conditions(listeners=listeners)[ConditionType.PROGRAMMED].reason == "Pending"


def test_a_listener_that_leads_elsewhere_is_pending() -> None:
    before = tunnel("blog", "0.0.0.0:443", "0.0.0.0:8443", service="old")

    found = conditions(listeners=opened(before))

    assert found[ConditionType.PROGRAMMED].reason == "Pending"
    assert "does not yet lead here" in found[ConditionType.PROGRAMMED].message


def test_a_failed_listener_gives_its_reason_and_what_to_do_before_one_that_is_pending() -> None:
    failed = Observed(
        spec=opened(BLOG)[SECOND].spec,
        phase=Phase.FAILED,
        message="another process listens there; stop it.",
        reason="AddressInUse",
    )

    found = conditions(listeners={SECOND: failed})

    status, reason, message = brief(found[ConditionType.PROGRAMMED])
    assert (status, reason) == (False, "AddressInUse")
    assert message.startswith(
        "0.0.0.0:8443 is not open: another process listens there; stop it. It is tried again by itself."
    )
    assert found[ConditionType.READY].reason == "AddressInUse"


def test_a_failure_without_a_reason_is_called_failed() -> None:
    failed = Observed(spec=opened(BLOG)[FIRST].spec, phase=Phase.FAILED)

    found = conditions(listeners={**opened(BLOG), FIRST: failed})

    assert found[ConditionType.PROGRAMMED].reason == "Failed"
    assert "the reason is in the log" in found[ConditionType.PROGRAMMED].message


def test_a_tunnel_whose_clients_are_away_waits_for_them() -> None:
    found = conditions(clients=view(stranger=("web",)))

    assert brief(found[ConditionType.RESOLVED_REFS]) == (
        False,
        "ClientAway",
        "None of homelab, office is connected: start the client, or look at its log.",
    )
    assert found[ConditionType.PROGRAMMED].status
    assert found[ConditionType.READY].reason == "ClientAway"


def test_of_clients_that_are_away_and_were_refused_it_is_told_why() -> None:
    refused = replace(view(), refused={ClientId("office"): "it is revoked"})
    alone = tunnel("mail", "0.0.0.0:25", client=("office",))

    message = conditions(clients=refused)[ConditionType.RESOLVED_REFS].message
    assert message == "None of homelab, office is connected: office was refused, because it is revoked."
    message = conditions(alone, listeners=opened(alone), clients=refused)[ConditionType.RESOLVED_REFS].message
    assert message == "office is not connected: it was refused, because it is revoked."


def test_a_single_client_that_is_away_is_named() -> None:
    found = conditions(tunnel("mail", "0.0.0.0:25"), clients=view())

    assert found[ConditionType.RESOLVED_REFS].message == (
        "homelab is not connected: start the client, or look at its log."
    )


def test_a_client_that_does_not_offer_the_service_is_told_apart_from_one_that_is_away() -> None:
    found = conditions(clients=view(homelab=("smtp",)))

    assert brief(found[ConditionType.RESOLVED_REFS]) == (
        False,
        "ServiceUnknown",
        "homelab is connected but does not offer web now: add web to services in the client's state file, "
        "or start it if its health check fails.",
    )


@pytest.mark.parametrize(
    ("offers", "expected"),
    [
        ({}, None),
        ({"homelab": ("web",), "office": ("web",)}, "homelab"),
        ({"office": ("web",)}, "office"),
        ({"homelab": ("smtp",), "office": ("web",)}, "office"),
        ({"homelab": ("smtp",), "office": ("smtp",)}, None),
        ({"stranger": ("web",)}, None),
    ],
)
def test_the_first_client_that_is_connected_and_offers_the_service_serves(
    offers: dict[str, tuple[str, ...]], expected: str | None
) -> None:
    clients = view(**offers)

    assert serving_client(BLOG, clients) == expected
    assert conditions(clients=clients)[ConditionType.RESOLVED_REFS].status == (expected is not None)


def test_since_stays_while_status_and_reason_do() -> None:
    before = conditions(generation=7)

    after = conditions(generation=8, previous=before.values(), now=NOON + timedelta(hours=1))

    assert {condition.since for condition in after.values()} == {NOON}
    assert {condition.observed_generation for condition in after.values()} == {8}


def test_since_moves_with_the_status_and_with_the_reason() -> None:
    later = NOON + timedelta(hours=1)
    before = conditions(clients=view()).values()

    after = conditions(clients=view(homelab=("smtp",)), previous=before, now=later)

    assert {kind: condition.since for kind, condition in after.items()} == {
        ConditionType.ACCEPTED: NOON,
        ConditionType.PROGRAMMED: NOON,
        ConditionType.RESOLVED_REFS: later,
        ConditionType.READY: later,
    }


def test_a_default_route_and_a_hostname_on_one_port_are_two_tunnels() -> None:
    shop = tunnel("shop", "0.0.0.0:443", hostname=("shop.example.com",))
    both = opened(tunnel("rest", "0.0.0.0:443"), shop)

    assert conditions(shop, listeners=both)[ConditionType.PROGRAMMED].status


def test_no_tunnel_is_ready_while_the_gateway_drains() -> None:
    found = {
        condition.type: condition
        for condition in tunnel_conditions(
            BLOG, generation=7, listeners={}, clients=ALL_WELL, is_draining=True, previous=(), now=NOON
        )
    }

    assert found[ConditionType.RESOLVED_REFS].status
    for kind in (ConditionType.PROGRAMMED, ConditionType.READY):
        assert (found[kind].status, found[kind].reason) == (False, "Draining")
        assert "its ports are closed" in found[kind].message
