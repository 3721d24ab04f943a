"""One line for each thing that changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from agent.events import Event, EventKind, Events
from agent.logs.turn_log import log_turn_event
from agent.turn_events import TurnEvents
from reconcile.desired import Key, Kind
from reconcile.execute import Outcome
from reconcile.loop import Turn
from reconcile.observed import Observed, Phase
from reconcile.plan import Action, Verb
from schemas.errors import Place, Problem
from tests.reconcile.samples import listener
from tests.support.journal import Journal

PORT = Key(kind=Kind.LISTENER, name="0.0.0.0:443")
PROBLEM = Problem(place=Place(file="gateway.yaml", line=3, col=7), message="write a port")
TAKEN = "0.0.0.0:443 is taken"
OPEN = Observed(spec=listener(443), phase=Phase.OPEN)


def turn_log() -> TurnEvents:
    """What is called with every turn, with the log behind it."""
    events = Events(lambda: datetime(2026, 5, 17, tzinfo=UTC))
    events.listen(log_turn_event)
    return TurnEvents(events.publish)


def turn(**changes: Any) -> Turn:
    """A turn that found everything as it should be."""
    calm: dict[str, Any] = {
        "number": 1,
        "state": None,
        "generation": 1,
        "fresh": False,
        "problems": (),
        "accepted": not changes.get("problems") or changes.get("fresh", False),
        "outcomes": (),
        "observed": {},
        "failed": {},
        "in_force": False,
    }
    return Turn(**{**calm, **changes})


def outcome(verb: Verb, error: str | None = None, defect: Exception | None = None) -> Outcome:
    return Outcome(action=Action(verb=verb, key=PORT, spec=None), error=error, defect=defect)


def said(journal: Journal) -> list[str]:
    return [line["event"] for line in journal.lines]


def test_a_turn_that_changed_nothing_says_nothing(journal: Journal) -> None:
    log = turn_log()

    log(turn())
    log(turn())

    assert journal.lines == []


def test_an_accepted_state_is_one_line_and_its_being_in_force_another(journal: Journal) -> None:
    log = turn_log()

    log(turn(fresh=True, generation=2, in_force=True))
    log(turn(generation=2, in_force=True))

    assert journal.lines == [
        {"event": "state_accepted", "generation": 2, "level": "info"},
        {"event": "state_in_force", "generation": 2, "level": "info"},
    ]


def test_a_refused_state_is_one_line_with_every_problem_and_its_place(journal: Journal) -> None:
    log = turn_log()

    log(turn(problems=(PROBLEM, PROBLEM)))
    log(turn(problems=(PROBLEM, PROBLEM)))

    (line,) = journal.find("state_refused", level="error")
    assert line["problems"] == ["gateway.yaml:3:7: write a port"] * 2
    assert line["generation_in_force"] == 1


def test_other_problems_are_another_line(journal: Journal) -> None:
    log = turn_log()

    log(turn(problems=(PROBLEM,)))
    log(turn(problems=(PROBLEM, PROBLEM)))

    assert len(journal.find("state_refused")) == 2


def test_a_state_that_is_as_it_was_before_the_mistake_is_mended(journal: Journal) -> None:
    log = turn_log()
    log(turn(problems=(PROBLEM,)))

    log(turn())
    log(turn())

    assert said(journal) == ["state_refused", "state_mended"]


def test_what_a_source_raised_is_shown_with_its_traceback(journal: Journal) -> None:
    defect = KeyError("x")

    turn_log()(turn(problems=(PROBLEM,), defect=defect))

    assert journal.find("state_refused")[0]["exc_info"] is defect


def test_every_action_is_one_line(journal: Journal) -> None:
    turn_log()(turn(outcomes=(outcome(Verb.CLOSE), outcome(Verb.UPDATE), outcome(Verb.OPEN))))

    assert said(journal) == ["resource_closed", "resource_updated", "resource_opened"]
    assert {line["resource"] for line in journal.lines} == {"listener 0.0.0.0:443"}


def test_a_failure_is_said_once_however_often_it_is_tried_again(journal: Journal) -> None:
    log = turn_log()

    for _ in range(3):
        log(turn(outcomes=(outcome(Verb.OPEN, TAKEN),), failed={PORT: TAKEN}))
        log(turn(failed={PORT: TAKEN}))

    (line,) = journal.lines
    assert (line["event"], line["level"], line["reason"]) == ("resource_failed", "error", TAKEN)


def test_a_failure_with_another_reason_is_said_anew(journal: Journal) -> None:
    log = turn_log()

    log(turn(failed={PORT: TAKEN}))
    log(turn(failed={PORT: "may not be opened"}))

    assert said(journal) == ["resource_failed", "resource_failed"]


def test_a_failure_after_a_success_is_said_anew(journal: Journal) -> None:
    log = turn_log()

    log(turn(failed={PORT: TAKEN}))
    log(turn(outcomes=(outcome(Verb.OPEN),)))
    log(turn(failed={PORT: TAKEN}))

    assert said(journal) == ["resource_failed", "resource_opened", "resource_failed"]


def test_what_died_by_itself_is_said_without_an_action(journal: Journal) -> None:
    turn_log()(turn(failed={PORT: "it stopped accepting"}))

    assert journal.find("resource_failed", reason="it stopped accepting")


def test_a_defect_is_shown_with_its_traceback(journal: Journal) -> None:
    defect = KeyError("x")

    turn_log()(turn(outcomes=(outcome(Verb.OPEN, "a defect", defect),), failed={PORT: "a defect"}))

    assert journal.find("resource_failed")[0]["exc_info"] is defect


def test_drift_that_was_healed_is_a_warning_before_what_was_done(journal: Journal) -> None:
    log = turn_log()
    log(turn(outcomes=(outcome(Verb.OPEN),), observed={PORT: OPEN}, fresh=True))

    log(turn(outcomes=(outcome(Verb.OPEN),), observed={PORT: OPEN}))

    assert said(journal)[-2:] == ["drift_healed", "resource_opened"]
    (line,) = journal.find("drift_healed", level="warning")
    assert line["reason"] == "it was lost though the state did not change"


def test_what_has_a_line_of_its_own_gets_no_second_one(journal: Journal) -> None:
    log_turn_event(
        Event(number=1, at=datetime(2026, 5, 17, tzinfo=UTC), kind=EventKind.CLIENT_CONNECTED, data={})
    )

    assert journal.lines == []


def test_what_is_wrong_is_neither_mended_nor_said_anew_while_the_files_have_not_settled(
    journal: Journal,
) -> None:
    log = turn_log()
    log(turn(problems=(PROBLEM,)))
    log(turn(unsettled=PROBLEM))
    log(turn(problems=(PROBLEM,)))
    log(turn())

    assert said(journal) == ["state_refused", "state_mended"]


def test_what_was_declared_while_the_files_have_not_settled_is_said(journal: Journal) -> None:
    turn_log()(turn(fresh=True, generation=2, unsettled=PROBLEM))

    assert said(journal) == ["state_accepted"]
