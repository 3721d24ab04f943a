"""How tunnels are doing: looking at what has changed gives what looking at everything would."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from agent.gateway.lookout import Facts, Lookout, Seen
from reconcile.conditions import ClientsView, serving_client, tunnel_conditions
from reconcile.desired import resources
from reconcile.observed import Observed, ObservedState, Phase
from schemas.names import ClientId, ServiceName
from schemas.state import Tunnel
from schemas.status import Condition, ConditionType
from tests.reconcile.samples import gateway_state, tunnel

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)

NAMES = st.sampled_from("abcdef")
PORTS = st.lists(
    st.sampled_from(["127.0.0.1:1", "127.0.0.1:2", "[::1]:1"]), min_size=1, max_size=2, unique=True
)
CLIENTS = st.sampled_from([("home",), ("office",), ("home", "office")])
SERVICES = st.sampled_from(["web", "mail"])
DECLARED = st.dictionaries(NAMES, st.tuples(PORTS, CLIENTS, SERVICES), max_size=6)
OFFERS = st.dictionaries(st.sampled_from(["home", "office"]), st.frozensets(SERVICES))
ADMITTED = st.none() | st.frozensets(st.sampled_from(["home", "office"]))


@st.composite
def changes(draw: st.DrawFn) -> list[Facts]:
    """What happens to a gateway: mostly one thing at a time, and the rest stays the very same."""
    tunnels: tuple[Tunnel, ...] = ()
    listeners: ObservedState = {}
    clients = ClientsView(admitted=None, offers={})
    is_draining, generation = False, 1
    happened = []
    for hour in range(draw(st.integers(1, 8))):
        match draw(st.sampled_from(["tunnels", "listeners", "clients", "draining", "nothing"])):
            case "tunnels":
                kept = [one for one in tunnels if draw(st.booleans())]
                come = [
                    tunnel(name, *ports, client=who, service=service)
                    for name, (ports, who, service) in draw(DECLARED).items()
                    if all(one.name != name for one in kept)
                ]
                tunnels, generation = tuple(draw(st.permutations(kept + come))), generation + 1
            case "listeners":
                phases = st.sampled_from([None, Phase.OPEN, Phase.OPENING, Phase.FAILED])
                wanted = resources(gateway_state(*tunnels)).items()
                listeners = {
                    key: listeners[key] if key in listeners and draw(st.booleans()) else seen
                    for key, spec in wanted
                    if (phase := draw(phases)) is not None
                    for seen in [Observed(spec=spec, phase=phase)]
                }
            case "clients":
                offers = {
                    ClientId(client): frozenset(map(ServiceName, services))
                    for client, services in draw(OFFERS).items()
                }
                admitted = draw(ADMITTED)
                clients = ClientsView(
                    admitted=None if admitted is None else frozenset(map(ClientId, admitted)), offers=offers
                )
            case "draining":
                is_draining = not is_draining
        happened.append(
            Facts(
                generation=generation,
                tunnels=tunnels,
                listeners=listeners,
                clients=clients,
                is_draining=is_draining,
                now=NOON + timedelta(hours=hour),
            )
        )
    return happened


def look_at_everything(before: dict[str, Seen], facts: Facts) -> dict[str, Seen]:
    found: dict[str, Seen] = {}
    for one in facts.tunnels:
        seen = before.get(one.name)
        generation = seen.generation if seen is not None and seen.tunnel == one else facts.generation
        conditions = tunnel_conditions(
            one,
            generation=generation,
            listeners=facts.listeners,
            clients=facts.clients,
            is_draining=facts.is_draining,
            previous=() if seen is None else seen.conditions,
            now=facts.now,
        )
        serving = serving_client(one, facts.clients)
        found[one.name] = Seen(tunnel=one, generation=generation, conditions=conditions, serving=serving)
    return found


@given(happened=changes())
def test_what_is_known_is_what_looking_at_everything_each_time_finds(happened: list[Facts]) -> None:
    lookout, expected = Lookout(), dict[str, Seen]()

    for facts in happened:
        lookout.note(facts)
        lookout.step(None)
        expected = look_at_everything(expected, facts)
        assert list(lookout.seen()) == list(expected.values())


@given(happened=changes())
def test_whoever_is_told_of_every_change_knows_as_much_as_whoever_looks(happened: list[Facts]) -> None:
    told: dict[str, dict[ConditionType, Condition]] = {}

    def hear(seen: Seen, changed: tuple[Condition, ...]) -> None:
        told.setdefault(seen.tunnel.name, {}).update({condition.type: condition for condition in changed})

    lookout = Lookout(hear)
    for facts in happened:
        lookout.note(facts)
        lookout.step(None)

    for seen in lookout.seen():
        known = told[seen.tunnel.name]
        assert [(known[c.type].status, known[c.type].reason) for c in seen.conditions] == [
            (c.status, c.reason) for c in seen.conditions
        ]


@given(happened=changes(), most=st.integers(1, 3))
def test_steps_that_others_interrupt_come_to_the_newest_facts(happened: list[Facts], most: int) -> None:
    lookout = Lookout()

    for facts in happened:
        lookout.note(facts)
        lookout.step(most)
    while lookout.step(most):
        pass

    newest = look_at_everything({}, happened[-1])
    assert [(seen.tunnel, seen.serving) for seen in lookout.seen()] == [
        (seen.tunnel, seen.serving) for seen in newest.values()
    ]
    assert [
        [(c.type, c.status, c.reason, c.message) for c in seen.conditions] for seen in lookout.seen()
    ] == [[(c.type, c.status, c.reason, c.message) for c in seen.conditions] for seen in newest.values()]


def test_only_what_a_change_concerns_is_looked_at_again() -> None:
    one, other = tunnel("a", "127.0.0.1:1", client=("home",)), tunnel("b", "127.0.0.1:2", client=("office",))
    listeners = {
        key: Observed(spec=spec, phase=Phase.OPEN)
        for key, spec in resources(gateway_state(one, other)).items()
    }
    nobody, home = (
        ClientsView(admitted=None, offers=offers)
        for offers in ({}, {ClientId("home"): frozenset({ServiceName("web")})})
    )
    lookout = Lookout()
    lookout.note(Facts(generation=1, tunnels=(one, other), listeners=listeners, clients=nobody, now=NOON))
    lookout.step(None)
    before = list(lookout.seen())

    lookout.note(Facts(generation=1, tunnels=(one, other), listeners=dict(listeners), clients=home, now=NOON))

    assert not lookout.step(1)
    after = list(lookout.seen())
    assert after[0].serving == "home"
    assert after[1] is before[1]

    refused = ClientsView(admitted=None, offers=home.offers, refused={ClientId("office"): "it is revoked"})
    lookout.note(Facts(generation=1, tunnels=(one, other), listeners=listeners, clients=refused, now=NOON))
    lookout.step(None)
    assert "it is revoked" in list(lookout.seen())[1].conditions[2].message
    assert next(iter(lookout.seen())) is after[0]


def test_the_same_statement_about_many_tunnels_is_kept_once() -> None:
    tunnels = tuple(tunnel(f"t{number}", "127.0.0.1:1") for number in range(50))
    lookout = Lookout()
    lookout.note(
        Facts(
            generation=1,
            tunnels=tunnels,
            listeners={},
            clients=ClientsView(admitted=None, offers={}),
            now=NOON,
        )
    )
    lookout.step(None)

    assert len({id(condition) for seen in lookout.seen() for condition in seen.conditions}) == 4
