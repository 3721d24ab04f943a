"""When to ask the peer for a sign of life, and when to give up on it.

Rule: arithmetic on times that are passed in, in seconds of any monotonic clock.
A ping goes out at once, which measures the path before anything is queued on it,
and then every ``interval``. If nothing at all has arrived ``timeout``
after a ping, the peer is dead. Any byte counts as a sign of life, not only the
answer: on a slow link the answer can be queued behind megabytes of a download,
and ending the session for that would cut the download off.

Somebody who waits for the peer in vain may suspect it. Then a ping goes out at once,
and silence of ``SUSPICION`` after it is enough, or of three round trips of a path that
is longer than most.
"""

from __future__ import annotations

from enum import Enum, auto
from math import inf
from typing import Final

SUSPICION: Final = 3.0
"""Seconds of silence after a ping that mean that a peer who is suspected is dead. Within them TCP sends what
was lost again several times, on a path that answers in less than a second."""
_ROUND_TRIPS: Final = 3


class Verdict(Enum):
    """What to do at a deadline."""

    WAIT = auto()
    PING = auto()
    DEAD = auto()


class Keepalive:
    """The timetable of one session.

    :param interval: seconds between pings.
    :param timeout: seconds of silence after a ping that mean the peer is dead.
    """

    def __init__(self, *, interval: float, timeout: float, now: float) -> None:
        self.round_trip: float | None = None  # of the last answered ping, in seconds
        self._interval = interval
        self._timeout = timeout
        self._next_ping = now
        self._asked_at: float | None = None  # the first ping since the last sign of life, or None
        self._received_when_asked = 0
        self._is_suspected = False  # until the next sign of life
        self._received_when_suspected = 0
        self._suspicion_ends = inf  # known when the ping has gone out
        self._value = 0
        self._sent_at: float | None = None  # the newest ping, while it is unanswered

    def change(self, *, interval: float, timeout: float, now: float) -> None:
        """Go by other times from now on. What was asked already is waited for as long as is said now."""
        self._interval = interval
        self._timeout = timeout
        self._next_ping = min(self._next_ping, now + interval)

    def suspect(self, now: float, received: int) -> None:
        """Ask the peer at once, who should have said something by now, and wait no longer than is said above.

        :param received: how many bytes have arrived in the whole life of the session.
        """
        if not self._is_suspected or received != self._received_when_suspected:
            self._is_suspected, self._received_when_suspected = True, received
            self._next_ping, self._suspicion_ends = now, inf

    @property
    def timeout(self) -> float:
        """Seconds of silence after a ping that mean the peer is dead."""
        return self._suspicion if self._is_suspected else self._timeout

    @property
    def _suspicion(self) -> float:
        return min(self._timeout, max(SUSPICION, _ROUND_TRIPS * (self.round_trip or 0.0)))

    @property
    def value(self) -> int:
        """The value to put into the ping that :meth:`handle_timeout` asked for."""
        return self._value

    def next_deadline(self) -> float:
        """When to call :meth:`handle_timeout`."""
        deadline = min(self._next_ping, self._suspicion_ends)
        if self._asked_at is not None:
            return min(self._asked_at + self._timeout, deadline)
        return deadline

    def handle_timeout(self, now: float, received: int) -> Verdict:
        """Decide what to do now.

        :param received: how many bytes have arrived in the whole life of the session.
        """
        if self._asked_at is not None and received != self._received_when_asked:
            self._asked_at = None
        if self._is_suspected and received != self._received_when_suspected:
            self._is_suspected, self._suspicion_ends = False, inf
        if self._asked_at is not None and now >= self._asked_at + self._timeout:
            return Verdict.DEAD
        if now >= self._suspicion_ends:
            return Verdict.DEAD
        if now < self._next_ping:
            return Verdict.WAIT
        self._next_ping = now + self._interval
        if self._is_suspected:
            self._suspicion_ends = min(self._suspicion_ends, now + self._suspicion)
        self._value = (self._value + 1) & 0xFFFFFFFF
        self._sent_at = now
        if self._asked_at is None:
            self._asked_at = now
            self._received_when_asked = received
        return Verdict.PING

    def pong(self, value: int, now: float) -> None:
        """The peer answered a ping. An answer that is late or was not asked for measures nothing."""
        if value == self._value and self._sent_at is not None:
            self.round_trip = now - self._sent_at
            self._sent_at = None
            self._asked_at = None
