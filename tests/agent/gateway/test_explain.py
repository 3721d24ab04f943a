"""What becomes of a visitor, told without one: as it is led, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.gateway.explain import Facts, decision_on, explain
from agent.gateway.question import parse_question
from agent.gateway.routing import Refused, Routed, RouteTable, classify
from agent.gateway.standing import BalancerView
from reconcile.conditions import ClientsView
from reconcile.desired import Key, Kind, ListenerSpec, resources
from reconcile.observed import Observed, Phase
from schemas.errors import Place, Problem
from schemas.explanation import Explanation
from schemas.names import Balance, ClientId, ServiceName
from schemas.networks import parse_network
from schemas.state import Tunnel
from tests.reconcile.samples import gateway_state, tunnel
from tests.support.hellos import build_hello, server_name

from .test_route_table import route

BLOG = tunnel("blog", "0.0.0.0:443", hostname=("blog.example.com",))
STAR = tunnel("star", "0.0.0.0:443", hostname=("*.example.com", "*.com"))
REST = tunnel("rest", "0.0.0.0:443")
MAIL = tunnel("mail", "0.0.0.0:25", service="smtp")
PORT = Key(kind=Kind.LISTENER, name="0.0.0.0:443")
HOME = {"homelab": ["web", "smtp"]}


def facts(
    *tunnels: Tunnel,
    offers: Mapping[str, Sequence[str]] = HOME,
    observed: Mapping[Key, Observed] | None = None,
    **changes: Any,
) -> Facts:
    state = gateway_state(*tunnels)
    seen = {key: Observed(spec=spec, phase=Phase.OPEN) for key, spec in resources(state).items()}
    calm: dict[str, Any] = {
        "state": state,
        "generation": 3,
        "accepted": True,
        "problems": (),
        "observed": {**seen, **(observed or {})},
        "clients": ClientsView(
            admitted=None,
            offers={
                ClientId(client): frozenset(ServiceName(one) for one in services)
                for client, services in offers.items()
            },
        ),
    }
    return Facts(**{**calm, **changes})


def told(known: Facts, listen: str, **more: str) -> Explanation:
    return explain(parse_question(listen, **more), known)


def test_an_exact_name_beats_patterns_and_what_would_match_next_is_told() -> None:
    found = told(facts(BLOG, STAR, REST), "203.0.113.7:443", sni="blog.example.com")

    assert (found.served, found.listener, found.client, found.service) == (
        True,
        "0.0.0.0:443",
        "homelab",
        "web",
    )
    assert found.match is not None
    assert (found.match.tunnel, found.match.hostname) == ("blog", "blog.example.com")
    assert [(one.tunnel, one.hostname) for one in found.next] == [
        ("star", "*.example.com"),
        ("star", "*.com"),
        ("rest", None),
    ]
    assert found.why == (
        "0.0.0.0:443 answers, which is every IPv4 address of the gateway.",
        "The tunnel blog has this very hostname, which beats every pattern.",
        "Without it, these would take the visitor: *.example.com (star), then *.com (star), "
        "then the default route (rest).",
        "homelab is connected and offers web: it serves.",
    )


def test_a_longer_pattern_beats_a_shorter_one() -> None:
    found = told(facts(STAR), "443", host="www.example.com")

    assert found.why[0] == "The tunnel star has *.example.com, the longest of the patterns that match."


def test_a_name_that_nothing_matches_goes_to_the_default_route_or_nowhere() -> None:
    led = told(facts(BLOG, REST), "443", sni="other.test")
    tls = told(facts(BLOG), "443", sni="other.test")
    http = told(facts(BLOG), "443", host="other.test")

    assert led.why[:2] == (
        "No hostname of this port matches other.test.",
        "The default route of the port takes the visitor: the tunnel rest.",
    )
    assert (tls.served, tls.gets) == (False, "the TLS alert unrecognized_name")
    assert (http.served, http.gets) == (False, "HTTP 404 Not Found")
    assert tls.why[-1] == "The port has no default route: each of its tunnels has a hostname."


def test_a_port_without_hostnames_is_not_looked_at() -> None:
    found = told(facts(MAIL), ":25", sni="whatever.test")

    assert (found.served, found.name) == (True, "whatever.test")
    assert found.why[0] == (
        "No tunnel of this port has a hostname: what a visitor sends does not matter, "
        "and neither does the name."
    )


def test_load_balancers_in_front_are_told_of() -> None:
    networks = tuple(map(parse_network, ("10.0.0.5", "10.1.0.0/16")))

    found = told(facts(MAIL.model_copy(update={"accept_proxy_protocol": networks})), ":25")

    assert found.served
    assert found.why[0] == (
        "A visitor who comes from 10.0.0.5 or 10.1.0.0/16 must begin with a PROXY header, which says who it "
        "is, and is turned away without one; of all others none is believed."
    )
    assert found.why[1] == (
        "No tunnel of this port has a hostname: what comes behind that header does not matter."
    )


def test_a_visitor_who_names_nobody_waits_for_the_default_route() -> None:
    found = told(facts(BLOG, REST), "443")
    lost = told(facts(BLOG), "443")

    assert (found.kind, found.served) == ("raw", True)
    assert "this visitor names none: it is given 3s to do so." in found.why[0]
    assert (lost.served, lost.gets) == (False, "nothing but the end of its connection")
    assert lost.why[-1] == (
        "If it speaks TLS, it gets the TLS alert unrecognized_name; if it speaks HTTP, HTTP 404 Not Found."
    )


def test_a_client_that_is_away_or_does_not_offer_the_service_is_told_with_what_the_visitor_gets() -> None:
    away = told(facts(BLOG, offers={}), "443", sni="blog.example.com")
    idle = told(facts(BLOG, offers={"homelab": ["smtp"]}), "443", host="blog.example.com")

    assert (away.served, away.client, away.gets) == (False, None, "the TLS alert internal_error")
    assert away.why[-1] == "homelab is not connected."

    refused = ClientsView(admitted=None, offers={}, refused={ClientId("homelab"): "it is revoked"})
    out = told(facts(BLOG, clients=refused), "443", sni="blog.example.com")
    assert out.why[-1] == "homelab is not connected: it was refused, because it is revoked."
    assert idle.gets == "HTTP 503 Service Unavailable"
    assert idle.why[-1] == "homelab is connected but does not offer web now."


def test_the_first_client_that_can_serves_and_why_those_before_it_do_not_is_told() -> None:
    both = tunnel("both", "0.0.0.0:443", client=("office", "homelab"))
    listed = ClientsView(
        admitted=frozenset({ClientId("homelab")}),
        offers={ClientId("homelab"): frozenset({ServiceName("web")})},
    )

    assert told(facts(both, clients=listed), "443").why[-2:] == (
        "office may not connect: list it under clients in the state file.",
        "homelab is connected and offers web: it serves.",
    )


def test_a_port_that_could_not_be_opened_says_why() -> None:
    spec = resources(gateway_state(BLOG))[PORT]
    failed = Observed(spec=spec, phase=Phase.FAILED, message="0.0.0.0:443 is taken by nginx")

    found = told(facts(BLOG, observed={PORT: failed}), "443", sni="blog.example.com")

    assert (found.served, found.listener, found.client) == (False, "0.0.0.0:443", None)
    assert found.match is not None, "where the visitor would be led"
    assert found.why[0] == "0.0.0.0:443 is taken by nginx. It is tried again by itself."
    assert found.gets == "a refused connection, or whatever other program has the port"


@pytest.mark.parametrize(
    ("phase", "words"), [(Phase.OPENING, "is not open yet"), (Phase.CLOSING, "is being closed")]
)
def test_a_port_in_flight_serves_nobody(phase: Phase, words: str) -> None:
    seen = Observed(spec=resources(gateway_state(BLOG))[PORT], phase=phase)

    found = told(facts(BLOG, observed={PORT: seen}), "443", sni="blog.example.com")

    assert not found.served
    assert words in found.why[0]


def test_a_gateway_that_stops_says_so_of_its_ports() -> None:
    known = facts(BLOG, is_stopping=True)
    closed = {key: seen for key, seen in known.observed.items() if key != PORT}

    found = told(replace(known, observed=closed), "443", sni="blog.example.com")

    assert (found.served, found.listener) == (False, "0.0.0.0:443")
    assert found.why[0] == "The gateway is stopping, and 0.0.0.0:443 is closed."


def test_what_runs_counts_and_not_what_is_wanted() -> None:
    """A port that is open still leads where it led, whatever the file says since."""
    old = Observed(spec=resources(gateway_state(REST))[PORT], phase=Phase.OPEN)

    changed = told(facts(BLOG, observed={PORT: old}), "443", sni="blog.example.com")
    removed = told(facts(MAIL, observed={PORT: old}), "443")

    assert (changed.service, changed.match) == ("web", removed.match)
    assert changed.why[0] == "A change of 0.0.0.0:443 is not in force yet; this is how it is now."
    assert removed.why[0] == "0.0.0.0:443 is not declared any more and is about to be closed."


def test_a_refused_file_leaves_an_earlier_generation_in_force_and_that_is_told() -> None:
    problem = Problem(Place("gateway.yaml", 3, 7), "write a port")

    found = told(facts(MAIL, accepted=False, problems=(problem,)), "25")

    assert (found.accepted, found.generation, found.served) == (False, 3, True)
    assert found.why[0] == (
        "The newest state is refused (gateway.yaml:3:7: write a port): generation 3 still counts."
    )


def test_where_nobody_listens_it_says_who_listens_beside() -> None:
    here = tunnel("here", "192.0.2.1:443")

    nobody = told(facts(MAIL), "203.0.113.7:80")
    beside = told(facts(here), "203.0.113.7:443")
    control = told(facts(MAIL), "203.0.113.7:9056")
    other = told(facts(BLOG), "[2001:db8::1]:443", sni="blog.example.com")

    assert (nobody.served, nobody.listener, nobody.why) == (False, None, ("No tunnel listens at port 80.",))
    assert beside.why == ("No tunnel listens at 203.0.113.7:443, but at 192.0.2.1:443.",)
    assert "the control port, where clients connect" in control.why[0]
    assert other.why == ("No tunnel listens at [2001:db8::1]:443, but at 0.0.0.0:443.",)
    assert told(facts(state=None, observed={}), "80").why[0] == "No state was accepted yet."


def test_a_port_of_the_gateway_itself_is_told_also_without_its_address() -> None:
    for asked in ("0.0.0.0:9056", ":9056"):
        found = told(facts(BLOG), asked)
        assert found.why == (
            "0.0.0.0:9056 is the control port, where clients connect, and not a port for visitors.",
        )


def test_a_port_alone_has_one_answer_or_asks_which_is_meant() -> None:
    twin = tunnel("twin", "0.0.0.0:443", "[::]:443")
    one, two = tunnel("one", "192.0.2.1:443"), tunnel("two", "192.0.2.2:443")

    assert told(facts(twin), "443").served
    assert told(facts(one), "443").listener == "192.0.2.1:443"
    with pytest.raises(ValueError, match=r"^192\.0\.2\.1:443 and 192\.0\.2\.2:443 lead to different tunnels"):
        told(facts(one, two), "443")


NAMES = st.text("ab.", min_size=1, max_size=6).filter(
    lambda text: not text.startswith(".") and not text.endswith(".") and ".." not in text
)
HOSTNAMES = st.lists(
    st.one_of(NAMES, NAMES.map(lambda name: f"*.{name}"), st.sampled_from(["*", "a*", "*.b", "*b"])),
    max_size=4,
    unique=True,
)


@given(ports=st.lists(HOSTNAMES, min_size=1, max_size=4), name=NAMES, is_http=st.booleans())
def test_an_explanation_and_a_visitor_are_led_the_same_way(
    ports: list[list[str]], name: str, is_http: bool
) -> None:
    """The first bytes of that visitor, and the question about it, on the same port."""
    table = RouteTable([route(f"t{number}", *hostnames) for number, hostnames in enumerate(ports)])
    first = (
        f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()
        if is_http
        else build_hello([server_name(name.encode())])
    )
    question = parse_question("443", **{"host" if is_http else "sni": name})

    visitor = classify(first, table, eof=False, timed_out=False)
    answer = decision_on(question, table)

    assert isinstance(visitor, Routed | Refused)
    assert answer == visitor


@given(ports=st.lists(HOSTNAMES, min_size=1, max_size=4), name=NAMES)
def test_what_is_said_to_match_is_where_the_visitor_is_led(ports: list[list[str]], name: str) -> None:
    routes = tuple(route(f"t{number}", *hostnames) for number, hostnames in enumerate(ports))
    spec = ListenerSpec(address=parse_question("192.0.2.1:443").addresses[0], routes=routes, peek_timeout=3.0)
    key = Key(kind=Kind.LISTENER, name=str(spec.address))
    known = facts(observed={key: Observed(spec=spec, phase=Phase.OPEN)})

    found = told(known, "192.0.2.1:443", sni=name)
    decision = classify(
        build_hello([server_name(name.encode())]), RouteTable(routes), eof=False, timed_out=False
    )

    assert (found.match and found.match.tunnel) == (
        decision.route.tunnel if isinstance(decision, Routed) else None
    )
    assert found.served == isinstance(decision, Routed)


THREE = tunnel("blog", "0.0.0.0:443", client=("homelab", "office", "attic"))
WEB_AT_ALL = {"homelab": ["web"], "office": ["web"], "attic": []}


def balanced(balance: Balance) -> Tunnel:
    return THREE.model_copy(update={"balance": balance})


def test_who_is_preferred_serves_and_who_stands_behind_it_is_told() -> None:
    found = told(facts(THREE, offers=WEB_AT_ALL), "443")

    assert found.why[-3:] == (
        "homelab is connected and offers web: it serves.",
        "office is connected and offers web: it stands by.",
        "attic is connected but does not offer web now.",
    )
    assert found.client == "homelab"


def test_who_has_failed_lately_is_passed_over_and_for_how_long_is_told() -> None:
    view = BalancerView(doubts={(ClientId("homelab"), ServiceName("web")): 3.4})
    found = told(facts(THREE, offers=WEB_AT_ALL, balancer=view), "443")

    assert found.why[-3:-1] == (
        "homelab is connected and offers web, but has not served a visitor lately: "
        "the others are asked first for 4s.",
        "office is connected and offers web: it serves.",
    )
    assert (found.client, found.gets) == ("office", "the service web of office")


@pytest.mark.parametrize(
    ("balance", "how"),
    [
        (Balance.ROUND_ROBIN, "They get visitors in turn."),
        (Balance.LEAST_CONNECTIONS, "The one with the fewest visitors gets the next."),
    ],
)
def test_clients_that_share_visitors_are_all_told_of(balance: Balance, how: str) -> None:
    visitors = {(THREE.name, ClientId("homelab")): 1, (THREE.name, ClientId("office")): 12}
    known = facts(balanced(balance), offers=WEB_AT_ALL, balancer=BalancerView(visitors=visitors))
    found = told(known, "443")

    assert found.why[-4:] == (
        "homelab is connected and offers web: 1 visitor now.",
        "office is connected and offers web: 12 visitors now.",
        "attic is connected but does not offer web now.",
        how,
    )
    assert (found.served, found.gets) == (True, "the service web of homelab or office")
