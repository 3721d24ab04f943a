"""What happens in an agent, told in one place to whoever wants to know.

Rule: an event is a value, published once and numbered in the order in which things
happened. Visitors are not events: there are thousands a second, and they have their
log line and their counters. Nobody who listens can hold up what happens: the last
events are kept, each reader has a place among them, and one who falls too far behind
is told that it missed some.
"""

from __future__ import annotations

import secrets
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, Protocol

import anyio

from schemas.errors import TidegateError

#: Events that a reader may miss, and still get all of them when it comes back.
KEPT: Final = 1_000

#: Readers of one agent, and of those the ones that one caller may be.
MAX_READERS: Final = 64
MAX_READERS_OF_ONE: Final = 8


class EventKind(Enum):
    """What can happen, as the log and the stream of events name it."""

    STATE_ACCEPTED = "state_accepted"
    STATE_REFUSED = "state_refused"
    STATE_MENDED = "state_mended"  # the file says again what is in force
    TUNNELS_LEFT_OUT = "tunnels_left_out"
    STATE_IN_FORCE = "state_in_force"
    RESOURCE_OPENED = "resource_opened"
    RESOURCE_UPDATED = "resource_updated"
    RESOURCE_CLOSED = "resource_closed"
    RESOURCE_FAILED = "resource_failed"
    DRIFT_HEALED = "drift_healed"  # something was not as the state says though the state did not change
    TUNNEL_CHANGED = "tunnel_changed"  # one or more of its conditions
    CLIENT_CONNECTED = "client_connected"
    CLIENT_DISCONNECTED = "client_disconnected"
    LINK_CONNECTED = "link_connected"
    LINK_LOST = "link_lost"
    DRAIN_BEGAN = "drain_began"
    DRAIN_ENDED = "drain_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened. ``data`` holds what pydantic can write as JSON."""

    number: int  # counted from 1
    at: datetime
    kind: EventKind
    data: Mapping[str, Any]
    defect: Exception | None = field(default=None, compare=False)
    """What only a mistake in our code can have raised; for the log, and nobody else."""


class Publish(Protocol):
    """Says that something happened."""

    def __call__(self, kind: EventKind, /, *, defect: Exception | None = None, **data: object) -> None: ...


def publish_nowhere(kind: EventKind, /, *, defect: Exception | None = None, **data: object) -> None:
    """The ``Publish`` of a part that nobody listens to."""


class TooManyReadersError(TidegateError):
    """Nobody else can read now; ``of_one``: or only this one cannot."""

    def __init__(self, message: str, *, of_one: bool) -> None:
        super().__init__(message)
        self.of_one = of_one


class EventsMissedError(TidegateError):
    """Some events are kept no more. ``latest`` is where a reader can go on."""

    def __init__(self, latest: str) -> None:
        super().__init__("some events were missed: look at the status, and go on from here")
        self.latest = latest


class Events:
    """The events of one agent, from its start.

    :param clock: the time now, in UTC.
    :param run: tells the events of this process from those of others.
    """

    def __init__(self, clock: Callable[[], datetime], *, run: str | None = None, kept: int = KEPT) -> None:
        self._clock = clock
        self._run = secrets.token_hex(4) if run is None else run
        self._kept: deque[Event] = deque(maxlen=kept)
        self._last = 0
        self._listeners: list[Callable[[Event], None]] = []
        self._readers: Counter[str] = Counter()
        self._news = anyio.Event()
        self._is_over = False

    def publish(self, kind: EventKind, /, *, defect: Exception | None = None, **data: object) -> None:
        """Say that something happened. From the thread of the event loop."""
        self._last += 1
        event = Event(
            number=self._last, at=self._clock(), kind=kind, data=MappingProxyType(data), defect=defect
        )
        self._kept.append(event)
        for hear in self._listeners:
            hear(event)
        if self._readers:
            self._wake()

    def listen(self, hear: Callable[[Event], None]) -> None:
        """Call this with every event from now on. It may not block, nor raise."""
        self._listeners.append(hear)

    @contextmanager
    def reading(self, reader: str, *, after: str | None = None) -> Iterator[Reader]:
        """Read events from now on, or from those on that followed the one with that id.

        :param reader: who reads.
        :raises TooManyReadersError: if too many do already.
        """
        if self._readers[reader] >= MAX_READERS_OF_ONE:
            message = f"{reader} reads the events {MAX_READERS_OF_ONE} times already: end one of these"
            raise TooManyReadersError(message, of_one=True)
        if self._readers.total() >= MAX_READERS:
            message = f"{MAX_READERS} read the events already: try again later"
            raise TooManyReadersError(message, of_one=False)
        self._readers[reader] += 1
        try:
            yield Reader(self, self._last if after is None else self._number_of(after))
        finally:
            self._readers[reader] -= 1
            self._readers += Counter()  # which forgets those who read no more

    def close(self) -> None:
        """There will be no more: readers come to the end of what is kept, and then to an end."""
        self._is_over = True
        self._wake()

    @property
    def reader_count(self) -> int:
        """How many read them."""
        return self._readers.total()

    @property
    def last(self) -> int:
        """The number of the last event, 0 before the first one."""
        return self._last

    @property
    def is_over(self) -> bool:
        """Whether there will be no more."""
        return self._is_over

    @property
    def latest(self) -> str:
        """The id of the last event; before the first one, what comes before it."""
        return f"{self._run}-{self._last}"

    def id_of(self, event: Event) -> str:
        """By which a reader names the last event that it has."""
        return f"{self._run}-{event.number}"

    def kept_after(self, number: int, most: int) -> Sequence[Event] | None:
        """The events that followed that one, the earliest first; None if some are kept no more."""
        start = number - self._last + len(self._kept)
        return None if start < 0 else list(islice(self._kept, start, start + most))

    async def wait(self) -> None:
        """Wait until there may be another one."""
        if not self._is_over:
            await self._news.wait()

    def _number_of(self, text: str) -> int:
        """The number of an event by its id; -1, which nothing follows any more, if it is not one of ours."""
        run, _, number = text.rpartition("-")
        is_ours = run == self._run and number.isascii() and number.isdigit() and len(number) < 20
        return int(number) if is_ours and int(number) <= self._last else -1

    def _wake(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()


class Reader:
    """Somebody who reads, at a place of its own."""

    def __init__(self, events: Events, number: int) -> None:
        self._events = events
        self._number = number  # of the last event that was read

    async def next(self, most: int = 100) -> Sequence[Event]:
        """The next events, as soon as there are any; none, if there will be no more.

        :raises EventsMissedError: if some are kept no more. Another call goes on from now.
        """
        while True:
            found = self._events.kept_after(self._number, most) if self._number >= 0 else None
            if found is None:
                self._number = self._events.last
                raise EventsMissedError(self._events.latest)
            if found:
                self._number = found[-1].number
                return found
            if self._events.is_over:
                return ()
            await self._events.wait()
