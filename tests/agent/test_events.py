"""Events are numbered, kept for a while, and read by everybody at a pace of their own."""

from __future__ import annotations

from datetime import UTC, datetime

import anyio
import pytest

from agent import events as module
from agent.events import (
    Event,
    EventKind,
    Events,
    EventsMissedError,
    Reader,
    TooManyReadersError,
    publish_nowhere,
)

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 5, 17, 12, tzinfo=UTC)
KIND = EventKind.STATE_ACCEPTED


def hub(*, kept: int = 5, run: str = "run") -> Events:
    return Events(lambda: NOON, run=run, kept=kept)


def publish(events: Events, count: int) -> None:
    for _ in range(count):
        events.publish(KIND, generation=7)


async def numbers(reader: Reader, most: int = 100) -> list[int]:
    with anyio.fail_after(10):
        return [event.number for event in await reader.next(most)]


async def test_a_reader_gets_what_happens_from_now_on_in_order() -> None:
    events = hub()
    publish(events, 2)
    with events.reading("me") as reader:
        publish(events, 2)
        assert await numbers(reader) == [3, 4]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_later, events)
            assert await numbers(reader) == [5]


async def _later(events: Events) -> None:
    await anyio.lowlevel.checkpoint()
    publish(events, 1)


async def test_an_event_says_when_it_was_and_what_of_and_cannot_be_changed() -> None:
    events = hub()
    heard: list[Event] = []
    events.listen(heard.append)

    events.publish(KIND, generation=7)

    (event,) = heard
    assert (event.number, event.at, event.kind, event.data) == (1, NOON, KIND, {"generation": 7})
    assert (events.id_of(event), events.latest) == ("run-1", "run-1")
    with pytest.raises(TypeError):
        event.data["generation"] = 8  # type: ignore[index]  # which is what must not be possible


async def test_a_reader_that_comes_back_gets_what_it_missed() -> None:
    events = hub()
    publish(events, 4)

    with events.reading("me", after="run-1") as reader:
        assert await numbers(reader, most=2) == [2, 3]
        assert await numbers(reader) == [4]


@pytest.mark.parametrize(
    "after", ["run-1", "run-99", "other-8", "", "-", "run-", "run--1", "run-٣", "run-9" * 50]
)
async def test_a_place_that_is_not_kept_is_missed_and_it_goes_on_from_now(after: str) -> None:
    events = hub()
    publish(events, 8)
    with events.reading("me", after=after) as reader:
        with pytest.raises(EventsMissedError) as caught:
            await numbers(reader)
        assert caught.value.latest == "run-8"
        publish(events, 1)
        assert await numbers(reader) == [9]


async def test_a_reader_that_is_too_slow_is_told_and_holds_nobody_up() -> None:
    events = hub(kept=5)
    with events.reading("slow") as slow, events.reading("quick") as quick:
        for number in range(1, 13):
            publish(events, 1)
            assert await numbers(quick) == [number]
        with pytest.raises(EventsMissedError):
            await numbers(slow)


async def test_at_the_end_what_is_kept_is_read_and_then_there_is_no_more() -> None:
    events = hub()
    with events.reading("me") as reader:
        publish(events, 1)
        events.close()
        assert await numbers(reader) == [1]
        assert await numbers(reader) == []
        assert events.is_over


async def test_whoever_waits_when_it_ends_waits_no_longer() -> None:
    events = hub()
    with events.reading("me") as reader:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_end, events)
            assert await numbers(reader) == []


async def _end(events: Events) -> None:
    await anyio.lowlevel.checkpoint()
    events.close()


async def test_readers_are_counted_for_each_caller_and_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_READERS", 3)
    monkeypatch.setattr(module, "MAX_READERS_OF_ONE", 2)
    events = hub()
    with events.reading("me"), events.reading("me"):
        with pytest.raises(TooManyReadersError, match="end one of these") as caught, events.reading("me"):
            pass
        assert caught.value.of_one
        with events.reading("you"), pytest.raises(TooManyReadersError, match="try again later"):
            events.reading("them").__enter__()
    with events.reading("me"), events.reading("you"), events.reading("them"):
        pass


async def test_two_runs_of_an_agent_do_not_mix_their_ids() -> None:
    assert Events(lambda: NOON).latest != Events(lambda: NOON).latest


async def test_nobody_need_listen() -> None:
    publish_nowhere(KIND, generation=1)
