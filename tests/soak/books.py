"""The books of a whole run: which conversations there are, and what became of them.

Rule: a conversation is entered before its visitor connects and is judged when both its sides are done, or
at the end of the run if its service never heard of it. Whatever may never be is a fault, and every fault is
kept in words that tell how to repeat it.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .doors import GATEWAY, Door, Service
from .ledger import Outcome, Side, Terms, judge
from .script import Conversation
from .tape import Tape


@dataclass(eq=False, slots=True, kw_only=True)
class Meeting:
    """One conversation of a run, and what it has come to so far."""

    number: int
    kind: str
    door: Door
    conversation: Conversation
    seed: int
    is_silent: bool = False
    visitor: Side | None = None  # None until it is done
    service: Side | None = None
    is_claimed: bool = False  # its service has heard of it
    source: tuple[str, int] | None = None  # the visitor's own address
    began: float = 0.0
    ended: float = 0.0

    def tape(self, who: str) -> Tape:
        """What the visitor, or the service, says."""
        return Tape(f"{self.seed}/{self.number}/{who}")

    def dice(self, who: str) -> random.Random:
        return random.Random(f"{self.seed}/{self.number}/{who}/pace")

    def __str__(self) -> str:
        return f"conversation {self.number} ({self.kind}, {self.door.name})"


class Disturbances:
    """When which client could not be reached, for a reason that is known."""

    def __init__(self) -> None:
        self._known: list[Disturbance] = []

    @contextmanager
    def of(self, *clients: str, killed: str | None = None) -> Iterator[None]:
        """While the block runs, connections through these clients may break.

        :param killed: the agent that is killed, if that is why.
        """
        disturbance = Disturbance(clients=clients, killed=killed, began=time.monotonic())
        self._known.append(disturbance)
        yield
        disturbance.ended = time.monotonic()

    def during(self, meeting: Meeting) -> list[Disturbance]:
        """What befell any of the clients that could have served it, while it lasted."""
        clients = set(meeting.door.clients)
        return [one for one in self._between(meeting.began, meeting.ended) if clients & set(one.clients)]

    def has_killed_since(self, began: float) -> bool:
        """Whether any client was being killed then, or has been since."""
        return any(one.killed not in (None, GATEWAY) for one in self._between(began, time.monotonic()))

    def _between(self, began: float, ended: float) -> list[Disturbance]:
        return [one for one in self._known if one.began <= ended and one.ended >= began]


@dataclass(slots=True, kw_only=True)
class Disturbance:
    """One thing that was done to some clients, or to the gateway that they serve."""

    clients: tuple[str, ...]
    killed: str | None
    began: float
    ended: float = float("inf")


class Books:
    """Every conversation, every fault, and the sums."""

    def __init__(self) -> None:
        self.disturbances = Disturbances()
        self.outcomes: defaultdict[str, Counter[Outcome]] = defaultdict(Counter)
        self.faults: list[str] = []
        self.heard_by_visitors = 0
        self.heard_by_services = 0
        self.strays = 0  # connections to a service from visitors that left before they had said anything
        self._open: dict[int, Meeting] = {}

    @property
    def visiting(self) -> int:
        """How many visitors there are now."""
        return sum(meeting.visitor is None for meeting in self._open.values())

    @property
    def total(self) -> int:
        """How many conversations have been judged."""
        return sum(outcomes.total() for outcomes in self.outcomes.values())

    def begin(self, meeting: Meeting) -> None:
        meeting.began = time.monotonic()
        self._open[meeting.number] = meeting

    def claim(self, number: int | None) -> Meeting | None:
        """The conversation that a service was asked for. To be asked for any other is a fault."""
        meeting = None if number is None else self._open.get(number)
        if meeting is None or meeting.is_claimed:
            self.fault(
                f"a service was asked for conversation {number}: it is nobody's, or was asked for before"
            )
            return None
        meeting.is_claimed = True
        return meeting

    def visitor_done(self, meeting: Meeting, side: Side) -> None:
        meeting.visitor = side
        meeting.ended = time.monotonic()
        if meeting.service is not None or not _is_awaited(meeting):
            self._judge(meeting)

    def service_done(self, meeting: Meeting, side: Side) -> None:
        meeting.service = side
        meeting.ended = time.monotonic()
        if meeting.visitor is not None:
            self._judge(meeting)

    def close(self) -> None:
        """Judge what is left: conversations that no service has heard of."""
        for meeting in list(self._open.values()):
            if meeting.visitor is None or (meeting.is_claimed and meeting.service is None):
                self.fault(f"{meeting} is not over")
            else:
                self._judge(meeting)

    def fault(self, message: str) -> None:
        self.faults.append(message)

    def _judge(self, meeting: Meeting) -> None:
        assert meeting.visitor is not None
        del self._open[meeting.number]
        known = self.disturbances.during(meeting)
        terms = Terms(
            excused=bool(known),
            gateway_killed=any(one.killed == GATEWAY for one in known),
            client_killed=any(one.killed in meeting.door.clients for one in known),
            in_vain=not meeting.door.service.serves or meeting.door.is_asked_in_vain,
            silent=meeting.is_silent,
            unix=meeting.door.service is Service.UNIX,
        )
        verdict = judge(meeting.conversation, meeting.visitor, meeting.service, terms)
        self.outcomes[meeting.kind][verdict.outcome] += 1
        self.heard_by_visitors += meeting.visitor.heard
        self.heard_by_services += 0 if meeting.service is None else meeting.service.heard
        for fault in verdict.faults:
            self.fault(f"{meeting}: {fault}")


def _is_awaited(meeting: Meeting) -> bool:
    """Whether a service may still hear of it."""
    return meeting.door.service.serves and not meeting.is_silent and not meeting.door.is_asked_in_vain
