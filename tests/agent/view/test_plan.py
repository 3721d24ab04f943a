"""Plans as a person reads them: kept whole in ``plans/``, and what holds for every plan.

After a change of the looks: ``TIDEGATE_REDRAW=1 pytest tests/agent/view/test_plan.py``, then read the diff.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given

from agent.planning import plan_report
from agent.view.plan import plan_lines, summary
from reconcile.desired import EgressSpec, Key, Spec, key_of, resources
from reconcile.observed import Observed, ObservedState, Phase
from reconcile.preview import Live, preview
from reconcile.spec_text import Setting
from schemas.names import Balance, ClientId, HostPort, ListenAddress, ServiceName, TunnelName
from schemas.plan_report import PlanReport
from schemas.roles import Role
from schemas.state import Egress, GatewayState
from tests.reconcile.samples import (
    client_state,
    desired_states,
    gateway_state,
    listener,
    observed_states,
    running,
    tunnel,
)
from tests.schemas.test_states import STATES, read

PLANS: Final = Path(__file__).parent / "plans"
WEB: Final = ListenAddress("0.0.0.0", 443)


def text(report: PlanReport) -> str:
    return "".join(f"{line.plain.rstrip()}\n" for line in plan_lines(report))


def gateway(*, edited: bool) -> GatewayState:
    """A gateway, and what somebody makes of its file."""
    kept = [tunnel(name, ":443", hostname=(f"{name}.example.com",)) for name in ("docs", "git", "wiki")]
    if not edited:
        return gateway_state(
            *kept,
            tunnel("blog", ":443", hostname=("blog.example.com",)),
            tunnel("old", ":443", hostname=("old.example.com",)),
            tunnel("mail", "0.0.0.0:25", service="smtp"),
            clients=("homelab", "office", "cabin"),
        )
    return gateway_state(
        *kept,
        tunnel(
            "blog", ":443", hostname=("blog.example.com", "*.blog.example.com"), client=("office", "homelab")
        ),
        tunnel("shop", ":443", hostname=("shop.example.com",)),
        tunnel("api", "0.0.0.0:8080", client=("office",), service="api"),
        clients=("homelab", "office", "garage"),
    )


def edit() -> PlanReport:
    live = Live(
        by_route={
            (WEB, TunnelName("blog")): 12,
            (WEB, TunnelName("old")): 1,
            (ListenAddress("0.0.0.0", 25), TunnelName("mail")): 3,
        },
        lost={ClientId("cabin"): 7},
    )
    runs = running(*resources(gateway(edited=False)).values())
    changes = preview(resources(gateway(edited=True)), runs, live)
    return plan_report(
        changes, role=Role.GATEWAY, base="the running agent (generation 12)", live=True, generation=12
    )


def first() -> PlanReport:
    changes = preview(resources(gateway(edited=False)), {}, Live())
    return plan_report(changes, role=Role.GATEWAY, base="nothing", live=True)


def written() -> PlanReport:
    """Against a file, and not an agent."""
    state = gateway(edited=False)
    settings = state.gateway.model_copy(update={"peek_timeout": 9.0})
    slower = resources(state.model_copy(update={"gateway": settings}))
    changes = preview(slower, running(*resources(state).values()), Live())
    return plan_report(changes, role=Role.GATEWAY, base="gateway.yaml")


def troubled() -> PlanReport:
    """What failed is tried again, a setting waits for a restart, a declared tunnel finds no room."""
    failed = Observed(spec=listener(25), phase=Phase.FAILED, message="0.0.0.0:25 is taken by another program")
    no_source = "egress.bind: 203.0.113.6 is not an address of this machine"
    state = read(STATES / "valid" / "gateway_reach.yaml")
    (egress,) = [spec for spec in resources(state).values() if isinstance(spec, EgressSpec)]
    other = replace(egress, bind=("203.0.113.6",))
    return plan_report(
        preview(
            {key_of(spec): spec for spec in (listener(25), egress)},
            {
                key_of(listener(25)): failed,
                key_of(other): Observed(spec=other, phase=Phase.FAILED, message=no_source),
            },
            Live(),
        ),
        role=Role.GATEWAY,
        base="the running agent (generation 3)",
        live=True,
        settings=[Setting(name="drain", before="30s", after="9s")],
        restart=[Setting(name="socket", before=None, after="/run/tidegate.sock")],
        left_out=["gateway.api.toml:3:1: 0.0.0.0:25 has a default route already (see gateway.yaml:8:5)"],
        warnings=["egress.bind: 203.0.113.5 is not an address of this machine; write one that ip addr shows"],
    )


def of_a_client() -> PlanReport:
    before = resources(client_state("web", "smtp", sessions=2))
    after = resources(client_state("web", "imap", gateways=(HostPort("gw1", 9056), HostPort("gw2", 9056))))
    second = next(key for key in before if key.name.endswith("#2"))
    live = Live(by_service={ServiceName("smtp"): 1}, by_link={second: 4})
    changes = preview(after, running(*before.values()), live)
    return plan_report(changes, role=Role.CLIENT, base="the running agent (generation 2)", live=True)


def of_file(name: str) -> PlanReport:
    """Of a state in which every key stands that says who may reach what, beside one in which none does."""
    state = read(STATES / "valid" / name)
    bare: dict[str, object]
    if isinstance(state, GatewayState):
        role, first = Role.GATEWAY, state.tunnels[0].model_copy(update={"balance": Balance.PREFERENCE})
        bare = {"clients": None, "revoked": (), "egress": Egress(), "tunnels": (first,)}
    else:
        role, bare = Role.CLIENT, {"socks5": None, "tunnels": state.tunnels[:1], "services": ()}
    runs = running(*resources(state.model_copy(update=bare)).values())
    return plan_report(preview(resources(state), runs, Live()), role=role, base="another state")


def nothing() -> PlanReport:
    return plan_report((), role=Role.GATEWAY, base="the running agent (generation 12)", generation=12)


DRAWN: Final[Mapping[str, Callable[[], PlanReport]]] = {
    "edit": edit,
    "first": first,
    "troubled": troubled,
    "written": written,
    "client": of_a_client,
    "nothing": nothing,
    "reach": partial(of_file, "gateway_reach.yaml"),
    "ways": partial(of_file, "client_reach.yaml"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_plan_looks_as_it_was_drawn(name: str) -> None:
    drawn = text(DRAWN[name]())
    file = PLANS / f"{name}.txt"
    if os.environ.get("TIDEGATE_REDRAW"):
        file.write_text(drawn)
    assert drawn == file.read_text()


@given(desired_states, observed_states)
def test_every_change_is_shown_with_its_sign(desired: Mapping[Key, Spec], observed: ObservedState) -> None:
    changes = preview(desired, observed, Live())

    lines = text(plan_report(changes, role=Role.CLIENT, base="nothing")).splitlines()

    assert [line for line in lines if line[:2] in ("+ ", "~ ", "- ")] == [
        f"{change.verb.value} {change.key}" for change in changes
    ]


def test_the_sum_counts_what_is_cut_and_what_may_finish() -> None:
    assert summary(edit()) == (
        "Plan against the running agent (generation 12): 1 to open, 3 to change, 1 to close; "
        "16 live connections may finish, 7 live connections will be cut."
    )
