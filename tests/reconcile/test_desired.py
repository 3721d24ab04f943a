"""What a state asks of the machine."""

from __future__ import annotations

import random

import pytest

from reconcile.desired import (
    AdmissionSpec,
    ControlSpec,
    Key,
    Kind,
    LinkSpec,
    ListenerSpec,
    ManagementSpec,
    ServicesSpec,
    resources,
    route_of,
)
from reconcile.observed import Observed, Phase
from reconcile.plan import Verb, make_plan
from schemas.names import ClientId, HostPort, ListenAddress, parse_listen
from schemas.state import ClientState, GatewaySettings, GatewayState

from .samples import CLIENT_TLS, GATEWAY_TLS, TIMING, client_state, gateway_state, tunnel


def test_a_gateway_without_tunnels_asks_for_admission_and_a_control_port() -> None:
    assert dict(resources(gateway_state())) == {
        Key(kind=Kind.ADMISSION, name=""): AdmissionSpec(clients=None, domain=None, admins=frozenset()),
        Key(kind=Kind.CONTROL, name="0.0.0.0:9056"): ControlSpec(
            address=ListenAddress("0.0.0.0", 9056), tls=GATEWAY_TLS, timing=TIMING
        ),
    }


def test_management_is_a_resource_for_each_address() -> None:
    state = GatewayState(gateway=GatewaySettings(tls=GATEWAY_TLS, management=parse_listen(":9057")))

    found = [spec for spec in resources(state).values() if isinstance(spec, ManagementSpec)]

    assert [spec.address for spec in found] == list(parse_listen(":9057"))


def test_clients_that_are_listed_are_admitted_and_nobody_else() -> None:
    spec = resources(gateway_state(clients=("office", "homelab")))[Key(kind=Kind.ADMISSION, name="")]

    assert isinstance(spec, AdmissionSpec)
    assert spec.clients == frozenset({ClientId("homelab"), ClientId("office")})


def test_an_empty_list_of_clients_admits_nobody() -> None:
    spec = resources(gateway_state(clients=()))[Key(kind=Kind.ADMISSION, name="")]

    assert isinstance(spec, AdmissionSpec)
    assert spec.clients == frozenset()


def test_tunnels_with_the_same_address_share_one_listener() -> None:
    blog = tunnel("blog", "0.0.0.0:443", hostname=("blog.example.com",))
    wiki = tunnel("wiki", "0.0.0.0:443", hostname=("wiki.example.com",))

    spec = resources(gateway_state(wiki, blog))[Key(kind=Kind.LISTENER, name="0.0.0.0:443")]

    assert spec == ListenerSpec(
        address=ListenAddress("0.0.0.0", 443), routes=(route_of(blog), route_of(wiki)), peek_timeout=3.0
    )


def test_a_tunnel_appears_on_each_of_its_addresses() -> None:
    blog = tunnel("blog", ":443", "127.0.0.1:8443")

    found = {
        spec.address: spec.routes
        for spec in resources(gateway_state(blog)).values()
        if isinstance(spec, ListenerSpec)
    }

    assert found == {
        ListenAddress("0.0.0.0", 443): (route_of(blog),),
        ListenAddress("::", 443): (route_of(blog),),
        ListenAddress("127.0.0.1", 8443): (route_of(blog),),
    }


def test_the_order_of_tunnels_in_the_file_means_nothing() -> None:
    tunnels = [tunnel(f"t{number}", "0.0.0.0:443", hostname=(f"t{number}.test",)) for number in range(9)]
    shuffled = random.Random(7).sample(tunnels, len(tunnels))

    assert resources(gateway_state(*tunnels)) == resources(gateway_state(*shuffled))


def test_who_declared_a_tunnel_is_not_part_of_what_runs() -> None:
    by_file = gateway_state(tunnel("blog", "0.0.0.0:443"))
    by_request = gateway_state(tunnel("blog", "0.0.0.0:443", declared_by="homelab"))

    assert resources(by_file) == resources(by_request)


def test_a_client_asks_for_its_services_and_a_link_to_each_gateway() -> None:
    gateways = (HostPort("gw1", 9056), HostPort("gw2", 9056))

    found = resources(client_state("web", gateways=gateways))

    assert [str(key) for key in found] == ["services", "link gw1:9056", "link gw2:9056"]
    assert found[Key(kind=Kind.LINK, name="gw2:9056")] == LinkSpec(
        gateway=gateways[1], session=1, client_id=ClientId("homelab"), tls=CLIENT_TLS, timing=TIMING
    )


def test_every_session_to_every_gateway_is_a_link() -> None:
    found = resources(client_state(gateways=(HostPort("gw1", 9056), HostPort("gw2", 9056)), sessions=2))

    assert {str(key) for key in found if key.kind is Kind.LINK} == {
        "link gw1:9056",
        "link gw1:9056 #2",
        "link gw2:9056",
        "link gw2:9056 #2",
    }
    assert {(str(spec.gateway), spec.session) for spec in found.values() if isinstance(spec, LinkSpec)} == {
        ("gw1:9056", 1),
        ("gw1:9056", 2),
        ("gw2:9056", 1),
        ("gw2:9056", 2),
    }


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (16, 15)])
def test_with_another_number_of_sessions_those_that_stay_are_not_touched(before: int, after: int) -> None:
    running = {key: Observed(spec=spec, phase=Phase.OPEN) for key, spec in resources(_with(before)).items()}
    verb = Verb.OPEN if after > before else Verb.CLOSE

    plan = make_plan(resources(_with(after)), running)

    assert {(action.verb, str(action.key)) for action in plan.actions} == {
        (verb, f"link gw1:9056 #{session}")
        for session in range(min(before, after) + 1, max(before, after) + 1)
    }


def _with(sessions: int) -> ClientState:
    return client_state("web", sessions=sessions)


def test_a_client_without_services_still_says_so() -> None:
    assert resources(client_state())[Key(kind=Kind.SERVICES, name="")] == ServicesSpec(targets=())


def test_resources_come_in_the_order_of_their_kinds() -> None:
    found = list(resources(gateway_state(tunnel("blog", "0.0.0.0:1", "0.0.0.0:2"))))

    assert [key.kind for key in found] == [Kind.ADMISSION, Kind.CONTROL, Kind.LISTENER, Kind.LISTENER]
    assert found == sorted(found)


def test_resources_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        resources(gateway_state())[Key(kind=Kind.SERVICES, name="")] = ServicesSpec(  # type: ignore[index]  # the point
            targets=()
        )


@pytest.mark.parametrize("other", ["listener", 3, None])
def test_a_kind_compares_with_kinds_only(other: object) -> None:
    with pytest.raises(TypeError):
        sorted([Kind.LISTENER, other])  # type: ignore[type-var]  # the point
