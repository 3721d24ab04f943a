"""What failed, and when it is tried again."""

from __future__ import annotations

import math

import pytest

from reconcile.desired import Spec
from reconcile.execute import Outcome
from reconcile.plan import Action, Verb
from reconcile.retrying import Retries

from .samples import keyed, listener, port

DESIRED = keyed(listener(1))


def outcome(spec: Spec | None = None, *, error: str | None = "taken", retry: bool = True) -> Outcome:
    action = Action(verb=Verb.OPEN, key=port(1), spec=spec or listener(1))
    return Outcome(action=action, error=error, retry=retry)


@pytest.fixture
def retries() -> Retries:
    """With chance switched off: every delay is half of its ceiling."""
    return Retries(random=lambda: 0.5, patience=30.0)


def test_nothing_is_held_before_anything_has_failed(retries: Retries) -> None:
    retries.note([outcome(error=None)], held=frozenset(), now=0.0)

    assert retries.held(DESIRED, now=0.0) == frozenset()
    assert retries.next_due() == math.inf
    assert retries.messages() == {}


def test_what_failed_is_held_until_its_delay_is_over(retries: Retries) -> None:
    retries.note([outcome()], held=frozenset(), now=100.0)

    assert retries.next_due() == 100.25
    assert retries.held(DESIRED, now=100.24) == {port(1)}
    assert retries.held(DESIRED, now=100.25) == frozenset()
    assert retries.messages() == {port(1): "taken"}


def test_the_delay_grows_with_every_failure_up_to_the_cap(retries: Retries) -> None:
    now, delays = 0.0, []
    for _ in range(9):
        retries.note([outcome()], held=frozenset(), now=now)
        delays.append(retries.next_due() - now)
        now = retries.next_due()

    assert delays == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]


def test_a_success_is_the_end_of_it(retries: Retries) -> None:
    retries.note([outcome()], held=frozenset(), now=0.0)
    retries.note([outcome(error=None)], held=frozenset(), now=1.0)

    assert retries.next_due() == math.inf
    assert retries.messages() == {}


def test_another_spec_is_tried_at_once_and_starts_counting_anew(retries: Retries) -> None:
    retries.note([outcome()], held=frozenset(), now=0.0)
    retries.note([outcome()], held=frozenset(), now=1.0)
    changed = listener(1, tunnel="mail")

    assert retries.held(keyed(changed), now=1.0) == frozenset()
    retries.note([outcome(changed)], held=frozenset(), now=1.0)
    assert retries.next_due() == 1.25


def test_a_key_that_is_no_longer_wanted_is_not_held(retries: Retries) -> None:
    retries.note([outcome()], held=frozenset(), now=0.0)

    assert retries.held({}, now=0.0) == frozenset()


def test_what_is_held_keeps_waiting_while_others_are_tried(retries: Retries) -> None:
    retries.note([outcome()], held=frozenset(), now=0.0)
    # The turn took so long that the retry is overdue when it ends: it must not be lost.
    retries.note([], held=frozenset({port(1)}), now=5.0)

    assert retries.next_due() == 0.25


def test_what_was_due_and_needed_no_action_is_forgotten(retries: Retries) -> None:
    retries.note([outcome()], held=frozenset(), now=0.0)
    retries.note([], held=frozenset(), now=5.0)

    assert retries.next_due() == math.inf
    assert retries.messages() == {}


def test_what_cannot_be_helped_by_trying_waits_for_the_resync(retries: Retries) -> None:
    retries.note([outcome(retry=False)], held=frozenset(), now=0.0)

    assert retries.next_due() == 30.0


def test_a_release_lets_everything_be_tried_and_keeps_count(retries: Retries) -> None:
    retries.note([outcome()], held=frozenset(), now=0.0)
    retries.release()

    assert retries.held(DESIRED, now=0.0) == frozenset()
    retries.note([outcome()], held=frozenset(), now=0.0)
    assert retries.next_due() == 0.5
