"""Every pair of a state and an input is a row of the table, or is an error.

What a row must be follows from five facts about a stream: who opened it, whether it is acknowledged, which
directions have ended, and whether it was reset. The table is compared with that reasoning, pair by pair.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from transport.wire.stream_state import (
    AWAITING_ACK,
    MAY_RECEIVE,
    MAY_SEND,
    TRANSITIONS,
    UNACKNOWLEDGED,
    StreamInput,
    StreamState,
)


@dataclass(frozen=True, slots=True)
class Facts:
    """A stream as one side sees it. ``ours``: we opened it; what that means ends with the acknowledgement."""

    ours: bool | None
    local_ended: bool = False
    remote_ended: bool = False


FACTS = {
    StreamState.OPENING: Facts(ours=True),
    StreamState.OPENING_LOCAL_ENDED: Facts(ours=True, local_ended=True),
    StreamState.OFFERED: Facts(ours=False),
    StreamState.OFFERED_REMOTE_ENDED: Facts(ours=False, remote_ended=True),
    StreamState.OPEN: Facts(ours=None),
    StreamState.LOCAL_ENDED: Facts(ours=None, local_ended=True),
    StreamState.REMOTE_ENDED: Facts(ours=None, remote_ended=True),
    StreamState.CLOSED: Facts(ours=None, local_ended=True, remote_ended=True),
}


def expected(state: StreamState, given: StreamInput) -> StreamState | None:
    """Where the input leads, or None if it breaks the protocol."""
    if state is StreamState.CLOSED:
        return None  # a closed stream has no books left; the mux never asks
    facts = FACTS[state]
    we_may_speak = facts.ours is not False  # who is offered a stream answers it first
    peer_may_speak = facts.ours is not True  # and so does the peer
    match given:
        case StreamInput.SEND_RST | StreamInput.RECV_RST:
            return StreamState.CLOSED
        case StreamInput.SEND_ACK:
            after = replace(facts, ours=None) if facts.ours is False else None
        case StreamInput.RECV_ACK:
            after = replace(facts, ours=None) if facts.ours is True else None
        case StreamInput.SEND_DATA:
            after = facts if we_may_speak and not facts.local_ended else None
        case StreamInput.SEND_FIN:
            after = replace(facts, local_ended=True) if we_may_speak and not facts.local_ended else None
        case StreamInput.RECV_DATA:
            after = facts if peer_may_speak and not facts.remote_ended else None
        case StreamInput.RECV_FIN:
            after = replace(facts, remote_ended=True) if peer_may_speak and not facts.remote_ended else None
        case StreamInput.RECV_WINDOW:
            after = (
                facts  # credit is harmless: for bytes on the way when a direction ended, or before the ACK
            )
    return None if after is None else next(s for s, f in FACTS.items() if f == after)


@pytest.mark.parametrize("given", StreamInput)
@pytest.mark.parametrize("state", StreamState)
def test_every_pair_is_the_row_that_reason_asks_for_or_no_row(state: StreamState, given: StreamInput) -> None:
    assert TRANSITIONS.get((state, given)) is expected(state, given)


@pytest.mark.parametrize("state", [state for state in StreamState if state is not StreamState.CLOSED])
def test_a_reset_ends_every_state(state: StreamState) -> None:
    assert TRANSITIONS[state, StreamInput.SEND_RST] is StreamState.CLOSED
    assert TRANSITIONS[state, StreamInput.RECV_RST] is StreamState.CLOSED


def test_every_state_can_be_reached_and_left() -> None:
    assert set(TRANSITIONS.values()) | {StreamState.OPENING, StreamState.OFFERED} == set(StreamState)
    assert {state for state, _ in TRANSITIONS} == set(StreamState) - {StreamState.CLOSED}


def test_the_sets_say_what_the_table_says() -> None:
    for state in StreamState:
        assert (state in MAY_SEND) is ((state, StreamInput.SEND_DATA) in TRANSITIONS)
        assert (state in MAY_RECEIVE) is ((state, StreamInput.RECV_DATA) in TRANSITIONS)
        assert (state in UNACKNOWLEDGED) is (FACTS[state].ours is False)
        assert (state in AWAITING_ACK) is (FACTS[state].ours is True)


def test_data_changes_no_state() -> None:
    """The mux relies on it: it asks the sets and leaves the table alone."""
    for (state, given), after in TRANSITIONS.items():
        if given in (StreamInput.SEND_DATA, StreamInput.RECV_DATA, StreamInput.RECV_WINDOW):
            assert after is state
