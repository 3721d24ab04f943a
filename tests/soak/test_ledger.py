"""What a conversation may come to: what is excused, what never is, and what is nobody's fault."""

from __future__ import annotations

from dataclasses import replace

import pytest

from .ledger import Ending, Outcome, Side, Terms, judge
from .script import Conversation, End, HearOut, Reset, Say

PEACEFUL = Conversation(visitor=(Say(10), End(), HearOut()), service=(HearOut(), Say(20), End()))
CRASHING = Conversation(visitor=(HearOut(),), service=(Say(20), Reset()))
CUT = Terms(excused=True)


def visitor(**changes: object) -> Side:
    """The visitor of a conversation that went well."""
    whole = Side(said=10, heard=20, said_end=Ending.END, heard_end=Ending.END, is_done=True)
    return replace(whole, **changes)  # type: ignore[arg-type] # of fields of all types


def service(**changes: object) -> Side:
    whole = Side(said=20, heard=10, said_end=Ending.END, heard_end=Ending.END, is_done=True)
    return replace(whole, **changes)  # type: ignore[arg-type] # of fields of all types


def test_a_conversation_is_whole_if_each_heard_all_that_the_other_said() -> None:
    assert judge(PEACEFUL, visitor(), service(), Terms()).outcome is Outcome.WHOLE


@pytest.mark.parametrize("terms", [Terms(), CUT, Terms(excused=True, client_killed=True)])
def test_a_visitor_that_hears_an_orderly_end_too_early_is_a_fault_whatever_was_cut(terms: Terms) -> None:
    verdict = judge(PEACEFUL, visitor(heard=19), service(), terms)
    assert verdict.outcome is Outcome.WRONG
    assert "a lost tail: the visitor heard an orderly end behind 19 bytes of 20" in verdict.faults[0]


@pytest.mark.parametrize("terms", [Terms(), CUT, Terms(excused=True, gateway_killed=True)])
def test_a_service_that_hears_an_orderly_end_too_early_is_a_fault_whatever_was_cut(terms: Terms) -> None:
    verdict = judge(PEACEFUL, visitor(), service(heard=0), terms)
    assert "a lost tail: the service heard an orderly end behind 0 bytes of 10" in verdict.faults[0]


def test_an_end_in_place_of_a_reset_is_a_lost_tail_though_every_byte_that_was_said_arrived() -> None:
    crashed = service(said_end=Ending.RESET, heard_end=Ending.OPEN, heard=0)
    verdict = judge(CRASHING, visitor(said=0), crashed, Terms())
    assert "a lost tail" in verdict.faults[0]
    in_order = judge(CRASHING, visitor(said=0, heard=7, heard_end=Ending.RESET), crashed, Terms())
    assert in_order.outcome is Outcome.AS_SCRIPTED


def test_peers_of_a_process_that_was_killed_may_hear_an_end_of_the_kernels_making() -> None:
    cut_off = Side(said=10, heard=3, said_end=Ending.RESET, heard_end=Ending.END)
    killed = Terms(excused=True, gateway_killed=True)
    assert judge(PEACEFUL, cut_off, service(heard_end=Ending.RESET), killed).outcome is Outcome.CUT
    killed = Terms(excused=True, client_killed=True)
    reset = visitor(heard=0, heard_end=Ending.RESET, is_done=False)
    assert judge(PEACEFUL, reset, service(heard=3), killed).outcome is Outcome.CUT


def test_a_service_behind_a_unix_socket_hears_an_end_where_others_hear_a_reset() -> None:
    cut_off = visitor(heard_end=Ending.RESET, heard=0, is_done=False)
    assert judge(PEACEFUL, cut_off, service(heard=3), replace(CUT, unix=True)).faults == ()
    assert judge(PEACEFUL, cut_off, service(heard=3), CUT).faults
    assert judge(PEACEFUL, visitor(), service(heard=3), Terms(unix=True)).faults


@pytest.mark.parametrize("who", ["visitor", "service"])
def test_a_reset_needs_an_excuse(who: str) -> None:
    one = visitor(heard_end=Ending.RESET, heard=4, is_done=False) if who == "visitor" else visitor()
    other = service(heard_end=Ending.RESET, heard=4, is_done=False) if who == "service" else service()
    assert f"the {who} was reset, and nothing had been cut" in judge(PEACEFUL, one, other, Terms()).faults
    assert judge(PEACEFUL, one, other, CUT).outcome is Outcome.CUT


@pytest.mark.parametrize("ending", [Ending.END, Ending.REFUSAL])
def test_a_visitor_may_be_turned_away_only_if_nobody_can_serve_it(ending: Ending) -> None:
    turned_away = visitor(heard=0, heard_end=ending)
    assert judge(PEACEFUL, turned_away, None, Terms()).faults
    for terms in (CUT, Terms(in_vain=True)):
        assert judge(PEACEFUL, turned_away, None, terms).outcome is Outcome.TURNED_AWAY


def test_a_refusal_behind_words_of_the_service_is_a_fault_whatever_was_cut() -> None:
    assert judge(PEACEFUL, visitor(heard_end=Ending.REFUSAL), service(), CUT).faults


@pytest.mark.parametrize("terms", [Terms(), CUT])
def test_nobody_may_hear_more_than_was_said(terms: Terms) -> None:
    assert judge(PEACEFUL, visitor(heard=21), service(), terms).faults
    assert judge(PEACEFUL, visitor(), service(heard=11), terms).faults
    assert judge(PEACEFUL, visitor(heard=1, heard_end=Ending.OPEN), None, terms).faults


@pytest.mark.parametrize("terms", [Terms(), CUT])
def test_what_a_side_itself_found_wrong_is_a_fault_whatever_was_cut(terms: Terms) -> None:
    assert judge(PEACEFUL, visitor(trouble=["hung"]), service(), terms).faults == ("the visitor hung",)
    assert judge(PEACEFUL, visitor(), service(trouble=["hung"]), terms).faults == ("the service hung",)


def test_a_peaceful_conversation_has_to_reach_its_service_and_its_end() -> None:
    unheard = visitor(heard=0, heard_end=Ending.OPEN, is_done=False)
    assert "it never reached its service" in judge(PEACEFUL, unheard, None, Terms()).faults
    halfway = service(said=0, said_end=Ending.RESET, is_done=False)
    assert "it did not come to its end, and nothing had been cut" in (
        judge(PEACEFUL, unheard, halfway, Terms()).faults
    )
    assert judge(PEACEFUL, unheard, halfway, CUT).outcome is Outcome.CUT
