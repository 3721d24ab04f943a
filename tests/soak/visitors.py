"""The visitors: they come, one after the other or many at once, and each has a conversation.

Rule: the seed and its number decide what a visitor is like; only when it comes is left to the machine.
"""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

from .books import Books, Meeting
from .doors import HALF, NOBODY, Door, Language, Service
from .ledger import Side
from .line import Line
from .script import SERVED, Author, Measures, in_vain, silence, unanswered
from .talk import Talk

_BURST: Final = 30
_SMALL_BUFFER: Final = 16 * 1024  # of the socket of a visitor that reads slowly


class Crowd:
    """Makes up visitors: number 1, number 2, and so on.

    :param doors: where they may go.
    """

    def __init__(self, doors: Sequence[Door], measures: Measures, *, seed: int) -> None:
        self._served = [door for door in doors if door.service.serves]
        self._unserved = [door for door in doors if not door.service.serves]
        self._named = [door for door in doors if door.asked is not None]
        self._measures = measures
        self._seed = seed
        self._next = 1

    def next_group(self) -> list[Meeting]:
        """Who comes next: one, or now and then many at once."""
        dice = random.Random(f"{self._seed}/{self._next}/group")
        if dice.random() < 0.01:
            door = dice.choice(self._served)
            return [self._meeting("burst", door, SERVED["question"][0]) for _ in range(_BURST)]
        kind = dice.choices((*SERVED, *_UNSERVED), _WEIGHTS)[0]
        if kind in SERVED:
            return [self._meeting(kind, dice.choice(self._served), SERVED[kind][0])]
        match kind:
            case "silent":
                return [replace(self._meeting(kind, dice.choice(self._served), silence), is_silent=True)]
            case "in vain":
                door = dice.choice(self._unserved)
                return [self._meeting(kind, door, unanswered if door.service is Service.DEAF else in_vain)]
            case _:
                door = replace(dice.choice(self._named), asked=NOBODY)
                return [self._meeting(kind, door, in_vain)]

    def probe(self, door: Door) -> Meeting:
        """Somebody with a question for that door, to see whether it still leads anywhere."""
        return self._meeting("probe", door, SERVED["question"][0])

    def _meeting(self, kind: str, door: Door, author: Author) -> Meeting:
        number = self._next
        self._next += 1
        return Meeting(
            number=number,
            kind=kind,
            door=door,
            conversation=author(random.Random(f"{self._seed}/{number}"), self._measures),
            seed=self._seed,
        )


_UNSERVED: Final = {"silent": 6, "in vain": 6, "stranger": 2}
_WEIGHTS: Final = [weight for _, weight in SERVED.values()] + list(_UNSERVED.values())


class Visits:
    """Lets visitors go where they want.

    :param context: what they trust, where they speak TLS.
    :param limit: seconds that a conversation may take.
    """

    def __init__(
        self, books: Books, context: ssl.SSLContext, *, limit: float, alarm: Callable[[], Awaitable[None]]
    ) -> None:
        self._books = books
        self._context = context
        self._limit = limit
        self._alarm = alarm

    async def pay(self, meeting: Meeting) -> None:
        """One visit, from the first packet to the last."""
        self._books.begin(meeting)
        self._books.visitor_done(meeting, await self._talk(meeting))

    async def _talk(self, meeting: Meeting) -> Side:
        connection = socket.socket()
        if meeting.kind == "slow reader":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
        line = Line(connection)
        talk = Talk(
            line,
            saying=meeting.tape("visitor"),
            hearing=meeting.tape("service"),
            dice=meeting.dice("visitor"),
            limit=self._limit,
            alarm=self._alarm,
            manners=meeting.door.manners,
        )
        await talk.perform(meeting.conversation.visitor, before=lambda: self._arrive(meeting, line))
        return talk.side

    async def _arrive(self, meeting: Meeting, line: Line) -> None:
        """Connect, and say which conversation this is.

        :raises LineError: if that is not possible.
        """
        door = meeting.door
        await line.connect(door.address)
        meeting.source = line.local
        if meeting.is_silent:
            half = HALF[door.language]
            await line.send(half[: meeting.dice("half").randint(0, len(half))])
            return
        if door.language is Language.TLS:
            await line.handshake(self._context, server=False, name=door.asked)
        await line.send(door.opening(meeting.number))
