"""Three clients serve one tunnel from machines of their own. Whatever becomes of one, visitors are served.

A visitor that is with a client when that goes is cut off with it. Nobody else may notice anything.
"""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.support.failover import EACH, KEEP, Failover, Outcome, failover, until
from tests.support.services import nobody_listening
from tests.support.site import Site, site, tidegate

three_machines = pytest.mark.real_software("ip")

FIRST, SECOND = "attic", "barn"
VISITORS = KEEP + EACH

Begin: TypeAlias = Callable[..., Failover]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Three clients, in order of preference unless the test says otherwise."""
    with ExitStack() as stack:
        yield lambda **tunnel: stack.enter_context(failover(tmp_path, **tunnel))


def served_by(outcome: Outcome) -> set[str | None]:
    return {request.who for request in outcome.newcomers}


@three_machines
def test_a_client_that_is_killed_costs_those_who_were_with_it_and_nobody_else(begin: Begin) -> None:
    at = begin()
    load = at.ask()
    moment = at.kill(FIRST)
    until(lambda: load.answered(after=moment, but=FIRST) >= 100)
    at.start_client(FIRST)
    back = time.monotonic()
    until(lambda: load.answered(after=back, by=FIRST) >= 20)
    outcome = load.finish(moment)
    print(outcome)

    assert outcome.turned_away == []
    assert len(outcome.cut) <= VISITORS
    assert served_by(outcome) == {FIRST, SECOND}
    # Who has found the second one meanwhile stays with it.
    assert {request.who for request in outcome.requests[-VISITORS:] if request.kind == "keep"} == {SECOND}


@three_machines
def test_a_cable_that_is_pulled_is_noticed_by_the_first_visitors_and_costs_no_others(begin: Begin) -> None:
    at = begin()
    load = at.ask()
    moment = at.pull(FIRST)
    lost = at.gateway.wait_for("client_disconnected", client=FIRST)
    until(lambda: load.answered(after=moment, but=FIRST) >= 100)
    mark = at.gateway.mark
    at.homes[FIRST].plug_in()
    at.gateway.wait_for("client_connected", after=mark, client=FIRST)
    back = time.monotonic()
    until(lambda: load.answered(after=back, by=FIRST) >= 20)
    outcome = load.finish(moment)
    print(outcome)

    assert lost["reason"] == "nothing was heard for 3 s after a ping"
    assert outcome.turned_away == []
    assert len(outcome.cut) <= VISITORS
    assert served_by(outcome) == {FIRST, SECOND}


@three_machines
def test_a_service_that_goes_down_is_tried_now_and_then_and_not_by_every_visitor(begin: Begin) -> None:
    at = begin()
    load = at.ask()
    moment = at.kill_service(FIRST)
    until(lambda: load.answered(after=moment, but=FIRST) >= 300)
    at.start_service(FIRST)
    until(lambda: load.answered(after=moment, by=FIRST) >= 20)
    outcome = load.finish(moment)
    print(outcome)
    refused = [line for line in at.clients[FIRST].lines if line["event"] == "stream_failed"]

    assert outcome.turned_away == []
    assert len(outcome.cut) <= VISITORS
    assert len(refused) < VISITORS + 10
    assert at.gateway.wait_for("service_trusted", client=FIRST)


@three_machines
def test_a_service_that_accepts_too_late_keeps_nobody_waiting_for_long(begin: Begin) -> None:
    """Who comes anew goes to the next client after a few seconds, and then at once."""
    at = begin()
    load = at.ask()
    moment = at.stall_service(FIRST)
    until(lambda: load.answered(after=moment, but=FIRST) >= 100)
    at.signal_service(FIRST, signal.SIGHUP)
    until(lambda: load.answered(after=time.monotonic() - 1, by=FIRST) >= 20)
    outcome = load.finish(moment)
    print(outcome)

    assert outcome.failed == []
    assert served_by(outcome) == {FIRST, SECOND}
    assert not [line for line in at.gateway.lines if line["event"] == "client_disconnected"]


@three_machines
def test_a_service_that_accepts_and_says_nothing_keeps_its_visitors(begin: Begin) -> None:
    """A connection that the service has taken may have done what was asked: it is not asked of another."""
    at = begin()
    load = at.ask()
    moment = at.mute_service(FIRST)
    until(lambda: at.gateway.status()["tunnels"][0]["clients"][0]["visitors"] == VISITORS)
    at.signal_service(FIRST, signal.SIGHUP)
    outcome = load.finish(moment)

    assert outcome.failed == []
    assert served_by(outcome) <= {FIRST}


@three_machines
def test_with_the_fewest_visitors_first_a_service_that_says_nothing_loses_the_newcomers(begin: Begin) -> None:
    at = begin(balance="least_connections")
    load = at.ask()
    moment = at.mute_service(FIRST)
    until(lambda: load.answered(after=moment, but=FIRST) >= 300)
    assert load.answered(after=moment, by=FIRST) == 0
    at.signal_service(FIRST, signal.SIGHUP)
    outcome = load.finish(moment)
    print(outcome)

    assert outcome.failed == []


@three_machines
def test_another_client_in_the_file_takes_over_without_one_failed_request(begin: Begin) -> None:
    at = begin()
    load = at.ask()
    moment = at.swap(SECOND)
    until(lambda: load.answered(after=moment, by=SECOND) >= 100)
    back = at.swap(FIRST)
    until(lambda: load.answered(after=back, by=FIRST) >= 100)
    outcome = load.finish(moment)
    print(outcome)

    assert outcome.failed == []
    assert {request.who for request in outcome.requests if request.kind == "keep"} == {FIRST}


@three_machines
def test_clients_in_turn_share_the_visitors_and_those_of_one_that_goes(begin: Begin) -> None:
    at = begin(balance="round_robin")
    load = at.ask()
    before = {request.who for request in load.requests()}
    moment = at.kill(FIRST)
    until(lambda: load.answered(after=moment) >= 100)
    outcome = load.finish(moment)

    assert before == {"attic", "barn", "cellar"}
    assert outcome.turned_away == []
    assert served_by(outcome) == {"barn", "cellar"}


# Without machines of their own


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as place:
        yield place


def test_a_service_whose_health_check_fails_is_not_offered_and_that_is_told(place: Site) -> None:
    listen, web = place.listen(), place.listen()
    tunnel = {"name": "blog", "listen": listen, "client": ["homelab", "office"], "service": "web"}
    gateway = place.start("gateway", place.gateway_file([tunnel]))

    def told() -> tuple[str, str, str]:
        """Who serves, what the service's client knows of it, and why a visitor gets what it gets."""
        why = tidegate("explain", listen, "--socket", str(gateway.socket_path), "--json")
        return (
            gateway.status()["tunnels"][0]["serving_client"],
            homelab.status()["services"][0]["health"],
            next(line for line in json.loads(why.stdout)["why"] if line.startswith("homelab")),
        )

    with nobody_listening() as other:
        with _listening_at(web):
            services = {"web": {"address": web, "health_check": "1s"}}
            homelab = place.start("client", place.client_file(services))
            place.start("client", place.client_file({"web": other}, id="office"))
            for client in ("homelab", "office"):
                gateway.wait_for("client_connected", client=client)
            assert told() == ("homelab", "answers", "homelab is connected and offers web: it serves.")
        homelab.wait_for("service_withdrawn", service="web")
        until(lambda: told() == ("office", "fails", "homelab is connected but does not offer web now."))
        with _listening_at(web):
            homelab.wait_for("service_offered", service="web")
            until(lambda: told()[:2] == ("homelab", "answers"))


def _listening_at(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_server((host, int(port)))
