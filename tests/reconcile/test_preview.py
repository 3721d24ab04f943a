"""What a state would change, and whom that would reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given

from reconcile.desired import AdmissionSpec, ControlSpec, EgressSpec, Key, Kind, Spec, key_of, resources
from reconcile.observed import IN_FLIGHT, Observed, ObservedState, Phase
from reconcile.plan import Verb, make_plan
from reconcile.preview import Live, preview
from schemas.names import ClientId, ListenAddress, ServiceName, TunnelName, parse_listen
from schemas.references import FileRef

from .samples import (
    GATEWAY_TLS,
    TIMING,
    client_state,
    desired_states,
    gateway_state,
    listener,
    observed_states,
    port,
    running,
    tunnel,
)

HTTP = ListenAddress("0.0.0.0", 80)


@given(desired_states, observed_states)
def test_a_preview_has_exactly_the_steps_of_the_plan_once_everything_has_settled(
    desired: Mapping[Key, Spec], observed: ObservedState
) -> None:
    settled = {key: seen for key, seen in observed.items() if seen.phase not in IN_FLIGHT}
    actions = make_plan(desired, settled).actions

    changes = preview(desired, settled, Live())

    assert {(change.verb, change.key) for change in changes} == {
        (action.verb, action.key) for action in actions
    }
    assert len(changes) == len(actions)


@given(desired_states, observed_states)
def test_nobody_is_reached_where_nobody_is_connected(
    desired: Mapping[Key, Spec], observed: ObservedState
) -> None:
    for change in preview(desired, observed, Live()):
        assert (change.finishing, change.dropped) == (0, 0)


def test_what_is_being_opened_counts_as_open_and_what_is_being_closed_as_gone() -> None:
    opening = {port(80): Observed(spec=listener(80), phase=Phase.OPENING)}
    closing = {port(80): Observed(spec=listener(80), phase=Phase.CLOSING)}
    desired = {port(80): listener(80)}

    assert preview(desired, opening, Live()) == ()
    assert [change.verb for change in preview(desired, closing, Live())] == [Verb.OPEN]


def test_a_route_that_changes_keeps_its_connections_and_the_others_are_not_named() -> None:
    before = resources(
        gateway_state(
            tunnel("blog", "0.0.0.0:80", hostname=("blog.example.com",)),
            tunnel("shop", "0.0.0.0:80", hostname=("shop.example.com",)),
            tunnel("wiki", "0.0.0.0:80", hostname=("wiki.example.com",)),
        )
    )
    after = resources(
        gateway_state(
            tunnel("blog", "0.0.0.0:80", hostname=("blog.example.com",), service="new"),
            tunnel("mail", "0.0.0.0:80", hostname=("mail.example.com",)),
            tunnel("wiki", "0.0.0.0:80", hostname=("wiki.example.com",)),
        )
    )
    live = Live(
        by_route={
            (HTTP, TunnelName("blog")): 3,
            (HTTP, TunnelName("shop")): 4,
            (HTTP, TunnelName("wiki")): 5,
            (ListenAddress("0.0.0.0", 81), TunnelName("blog")): 6,
        }
    )

    (change,) = preview(after, running(*before.values()), live)

    assert change.verb is Verb.UPDATE
    assert [(route.verb, route.tunnel, route.finishing) for route in change.routes] == [
        (Verb.UPDATE, "blog", 3),
        (Verb.OPEN, "mail", 0),
        (Verb.CLOSE, "shop", 4),
    ]
    assert (change.routes_kept, change.finishing, change.dropped) == (1, 7, 0)


def test_a_port_that_is_closed_lets_its_connections_finish() -> None:
    live = Live(by_route={(HTTP, TunnelName("blog")): 2})

    (change,) = preview({}, running(listener(80)), live)

    assert (change.verb, change.finishing, change.dropped) == (Verb.CLOSE, 2, 0)


def test_a_client_that_is_no_longer_admitted_takes_its_connections_with_it() -> None:
    before = AdmissionSpec(
        clients=frozenset({ClientId("home"), ClientId("office")}), domain=None, admins=frozenset()
    )
    after = replace(before, clients=frozenset({ClientId("home")}))

    (change,) = preview({key_of(after): after}, running(before), Live(lost={ClientId("office"): 7}))

    assert change.lost == (("office", 7),)
    assert (change.finishing, change.dropped) == (0, 7)
    assert [(setting.name, setting.after) for setting in change.settings] == [("client office", None)]


def test_clients_that_other_keys_disown_are_lost_once_however_many_ports_have_these_keys() -> None:
    ports = [parse_listen(text)[0] for text in ("127.0.0.1:1", "127.0.0.1:2")]
    other = GATEWAY_TLS.model_copy(update={"crl": FileRef("crl.pem")})
    before, after = (
        {key_of(spec): spec for spec in (ControlSpec(address=at, tls=tls, timing=TIMING) for at in ports)}
        for tls in (GATEWAY_TLS, other)
    )
    live = Live(disowned={ClientId("office"): 7})

    first, second = preview(after, running(*before.values()), live)

    assert (first.verb, first.lost, first.dropped) == (Verb.UPDATE, (("office", 7),), 7)
    assert (second.verb, second.lost, second.dropped) == (Verb.UPDATE, (), 0)
    assert [change.lost for change in preview({}, running(*before.values()), live)] == [(), ()]


def test_connections_that_egress_no_longer_allows_are_cut() -> None:
    before = EgressSpec(allow=(), bind=("192.0.2.1",))
    live = Live(forbidden={ClientId("office"): 2, ClientId("homelab"): 1})
    (change,) = preview({}, running(before), live)

    assert (change.verb, change.key, change.dropped, change.lost) == (Verb.CLOSE, key_of(before), 3, ())
    assert preview({key_of(before): before}, running(before), live) == ()


def test_a_service_that_moves_and_a_link_that_goes_let_connections_finish() -> None:
    before, after = resources(client_state("web", "smtp", sessions=2)), resources(client_state("web"))
    second = next(key for key in before if key.name.endswith("#2"))
    live = Live(by_service={ServiceName("smtp"): 2, ServiceName("web"): 9}, by_link={second: 3})

    services, link = preview(after, running(*before.values()), live)

    assert (services.key.kind, services.finishing) == (Kind.SERVICES, 2)
    assert (link.key, link.verb, link.finishing) == (second, Verb.CLOSE, 3)


def test_why_a_port_is_not_open_already_is_said() -> None:
    taken = {port(80): Observed(spec=listener(80), phase=Phase.FAILED, message="it is taken")}

    (change,) = preview({port(80): listener(80)}, taken, Live())

    assert (change.verb, change.failure) == (Verb.OPEN, "it is taken")
    assert [route.verb for route in change.routes] == [Verb.OPEN]


def test_ports_are_sorted_as_numbers() -> None:
    desired = {port(number): listener(number) for number in (443, 8080, 25)}

    assert [change.key.name for change in preview(desired, {}, Live())] == [
        "0.0.0.0:25",
        "0.0.0.0:443",
        "0.0.0.0:8080",
    ]
