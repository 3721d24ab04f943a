"""Values of the reconcile room in the words of the status report."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.reports import (
    ResourceStatuses,
    is_reached,
    is_ready,
    problem_status,
    resource_statuses,
    source_status,
)
from reconcile.desired import AdmissionSpec, Key, Kind
from reconcile.loop import ReconcileStatus
from reconcile.observed import Observed, Phase
from schemas.errors import Place, Problem
from schemas.status import LinkPhase, LinkStatus, ProblemStatus, Renewal, ResourceStatus, SourceStatus

PORT = Key(kind=Kind.LISTENER, name="0.0.0.0:443")
READY = ReconcileStatus(generation=3, observed_generation=3)
ANYBODY = AdmissionSpec(clients=None, domain=None, admins=frozenset())


def test_an_agent_is_ready_when_the_newest_accepted_state_is_in_force() -> None:
    assert is_ready(READY)


def test_an_agent_with_a_refused_file_is_ready_while_the_last_good_state_is_in_force() -> None:
    assert is_ready(replace(READY, problems=(Problem(place=None, message="no"),)))


@pytest.mark.parametrize(
    "status",
    [
        ReconcileStatus(),
        replace(READY, generation=4),
        replace(READY, failed={PORT: "taken"}),
    ],
    ids=["nothing accepted", "not yet in force", "failed since"],
)
def test_an_agent_is_not_ready_before_that(status: ReconcileStatus) -> None:
    assert not is_ready(status)


def link(phase: LinkPhase, renewal: Renewal = Renewal.DONE) -> LinkStatus:
    return LinkStatus(
        gateway="gw1:9056",
        session=1,
        phase=phase,
        renewal=renewal,
        message="",
        since=datetime(2026, 5, 4, tzinfo=UTC),
        attempts=0,
        next_attempt_at=None,
    )


def test_a_gateway_is_reached_at_one_address_or_by_one_that_stands_by() -> None:
    up, spare, away = map(link, (LinkPhase.CONNECTED, LinkPhase.STANDBY, LinkPhase.WAITING))

    assert is_reached([away, up])
    assert is_reached([spare])
    assert not is_reached([away])
    assert not is_reached([])


def test_a_gateway_is_not_reached_by_the_settings_of_before() -> None:
    old, spare = link(LinkPhase.CONNECTED, Renewal.FAILED), link(LinkPhase.STANDBY)

    assert not is_reached([old])
    assert not is_reached([old, spare])
    assert is_reached([old, link(LinkPhase.CONNECTED)])


def test_the_source_is_told_with_its_generations_and_problems() -> None:
    loaded_at = datetime(2026, 5, 4, tzinfo=UTC)
    problem = Problem(place=None, message="it cannot be read")
    status = replace(READY, generation=4, digest="abc", loaded_at=loaded_at, problems=(problem,))

    assert source_status(Path("gateway.yaml"), status) == SourceStatus(
        path="gateway.yaml",
        generation=4,
        observed_generation=3,
        digest="abc",
        loaded_at=loaded_at,
        problems=(problem_status(problem),),
    )


def test_a_problem_is_told_with_its_place() -> None:
    problem = Problem(place=Place(file="gateway.yaml", line=3, col=7), message="write a port")

    assert problem_status(problem) == ProblemStatus(
        file="gateway.yaml", line=3, col=7, message="write a port", text="gateway.yaml:3:7: write a port"
    )


def test_a_problem_without_a_place_is_told_without_one() -> None:
    told = problem_status(Problem(place=None, message="it cannot be read"))

    assert (told.file, told.line, told.col, told.text) == (None, None, None, "it cannot be read")


def test_resources_come_in_the_order_in_which_they_are_opened() -> None:
    observed = {
        PORT: Observed(spec=ANYBODY, phase=Phase.FAILED, message="taken"),
        Key(kind=Kind.ADMISSION, name=""): Observed(spec=ANYBODY, phase=Phase.OPEN),
    }

    assert resource_statuses(observed) == (
        ResourceStatus(kind="admission", name="", phase="open", message=""),
        ResourceStatus(kind="listener", name="0.0.0.0:443", phase="failed", message="taken"),
    )


def test_a_resource_that_has_not_changed_is_told_of_as_before() -> None:
    first, second = Observed(spec=ANYBODY, phase=Phase.OPENING), Observed(spec=ANYBODY, phase=Phase.OPEN)
    admission = Key(kind=Kind.ADMISSION, name="")
    statuses = ResourceStatuses()
    before = statuses.of({PORT: first, admission: second})

    after = statuses.of({PORT: second, admission: second})

    assert after == resource_statuses({PORT: second, admission: second})
    assert after[0] is before[0]
    assert statuses.of({admission: second}) == after[:1]
