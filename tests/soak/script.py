"""Conversations: what a visitor and a service say to each other, and how each of them ends.

Rule: a conversation is two scripts that fit together, made from a seed before anybody connects. What each
side must hear follows from what the other says, see ``ledger``; nothing here knows of sockets.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

KIB: Final = 1024
MIB: Final = 1024 * KIB


class Pace(Enum):
    """How somebody says or hears."""

    BRISK = "brisk"
    SLOW = "slow"  # in small pieces, and with pauses


@dataclass(frozen=True, slots=True)
class Say:
    """Say so many bytes."""

    size: int
    pace: Pace = Pace.BRISK


@dataclass(frozen=True, slots=True)
class Hear:
    """Hear so many bytes, and not yet what comes behind them."""

    size: int


@dataclass(frozen=True, slots=True)
class HearOut:
    """Hear to the end."""

    pace: Pace = Pace.BRISK


@dataclass(frozen=True, slots=True)
class End:
    """Say no more; go on hearing."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Break the connection, as a program that crashes does."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Close, whatever is still to be heard."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class AtOnce:
    """Do both at the same time."""

    one: tuple[Step, ...]
    other: tuple[Step, ...]


Step: TypeAlias = Say | Hear | HearOut | End | Reset | Leave | Pause | AtOnce
Script: TypeAlias = tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Two scripts. Who comes to the end of its script closes, in peace."""

    visitor: Script
    service: Script


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """How much is said and how long is waited.

    :param largest: bytes of the largest transfer.
    :param longest: seconds of the longest pause.
    :param patient: whether anybody may wait until a client gives up a service that does not answer, for 10 s.
    """

    largest: int
    longest: float
    patient: bool

    def size(self, dice: random.Random, largest: int | None = None) -> int:
        """A size; as many between 1 and 10 bytes as between 1 and 10 megabytes."""
        return int(math.exp(dice.uniform(0, math.log(min(largest or self.largest, self.largest)))))

    def pause(self, dice: random.Random) -> Pause:
        return Pause(dice.uniform(0, self.longest))

    def much(self, dice: random.Random) -> int:
        """More than a window and what the sockets on the way hold, if as much as that may be said."""
        return min(dice.randrange(2 * MIB, 8 * MIB), self.largest)


Author: TypeAlias = Callable[[random.Random, Measures], Conversation]


def question(dice: random.Random, measures: Measures) -> Conversation:
    """Short requests and answers, one after the other; the visitor closes."""
    visitor: list[Step] = []
    service: list[Step] = []
    for _ in range(dice.randint(1, 5)):
        asked, answered = measures.size(dice, 4 * KIB), measures.size(dice, 64 * KIB)
        visitor += [Say(asked), Hear(answered)]
        service += [Hear(asked), Say(answered)]
    return Conversation(visitor=tuple(visitor), service=(*service, HearOut()))


def acquaintance(dice: random.Random, measures: Measures) -> Conversation:
    """Short requests and answers with long pauses, as on a connection that is kept for later."""
    visitor: list[Step] = []
    service: list[Step] = []
    for _ in range(dice.randint(2, 8)):
        asked, answered = measures.size(dice, 4 * KIB), measures.size(dice, 64 * KIB)
        visitor += [Say(asked), Hear(answered), measures.pause(dice)]
        service += [Hear(asked), Say(answered)]
    return Conversation(visitor=tuple(visitor), service=(*service, HearOut()))


def download(dice: random.Random, measures: Measures) -> Conversation:
    """The service says all it has and ends; then the visitor closes."""
    return Conversation(visitor=(HearOut(),), service=(Say(measures.size(dice)), End(), HearOut()))


def upload(dice: random.Random, measures: Measures) -> Conversation:
    """The visitor ends its direction, and only then the service answers."""
    return Conversation(
        visitor=(Say(measures.size(dice)), End(), HearOut()),
        service=(HearOut(), Say(measures.size(dice, 64 * KIB)), End()),
    )


def last_word(dice: random.Random, measures: Measures) -> Conversation:
    """The service ends first, and listens to what the visitor then says."""
    return Conversation(
        visitor=(HearOut(), Say(measures.size(dice)), End()),
        service=(Say(measures.size(dice, 64 * KIB)), End(), HearOut()),
    )


def duplex(dice: random.Random, measures: Measures) -> Conversation:
    """Both talk at the same time, each to its own end."""

    def side(size: int) -> Script:
        return (AtOnce((Say(size), End()), (HearOut(),)),)

    return Conversation(visitor=side(measures.size(dice)), service=side(measures.size(dice)))


def slow_reader(dice: random.Random, measures: Measures) -> Conversation:
    """A visitor that takes a download little by little."""
    return Conversation(
        visitor=(measures.pause(dice), HearOut(Pace.SLOW)),
        service=(Say(measures.much(dice)), End(), HearOut()),
    )


def slow_writer(dice: random.Random, measures: Measures) -> Conversation:
    """Both speak haltingly."""
    return Conversation(
        visitor=(Say(measures.size(dice, 16 * KIB), Pace.SLOW), End(), HearOut()),
        service=(HearOut(), Say(measures.size(dice, 16 * KIB), Pace.SLOW), End()),
    )


def late_service(dice: random.Random, measures: Measures) -> Conversation:
    """A service that does not listen for a while, and then slowly."""
    return Conversation(
        visitor=(Say(measures.much(dice)), End(), HearOut()),
        service=(measures.pause(dice), HearOut(Pace.SLOW), Say(measures.size(dice, KIB)), End()),
    )


def visitor_resets(dice: random.Random, measures: Measures) -> Conversation:
    """The visitor crashes while it talks, or while it is talked to."""
    said = measures.size(dice)
    if dice.random() < 0.5:
        return Conversation(visitor=(Say(said), Reset()), service=(HearOut(),))
    heard = dice.randrange(said)
    return Conversation(visitor=(Hear(heard), Reset()), service=(Say(said), HearOut()))


def service_resets(dice: random.Random, measures: Measures) -> Conversation:
    """The service crashes: in an answer, which must not look whole, or while it hears."""
    said = measures.size(dice)
    if dice.random() < 0.5:
        return Conversation(visitor=(HearOut(),), service=(Say(said), Reset()))
    heard = dice.randrange(said)
    return Conversation(visitor=(Say(said), HearOut()), service=(Hear(heard), Reset()))


def leaver(dice: random.Random, measures: Measures) -> Conversation:
    """A visitor that closes in the middle of a download, as a browser does."""
    said = measures.size(dice)
    return Conversation(visitor=(Hear(dice.randrange(said)), Leave()), service=(Say(said), End(), HearOut()))


def silence(dice: random.Random, measures: Measures) -> Conversation:
    """A visitor that says nothing at all, and goes."""
    last: Step = dice.choice((Leave(), Reset()))
    return Conversation(visitor=(measures.pause(dice), last), service=(HearOut(),))


def in_vain(dice: random.Random, measures: Measures) -> Conversation:
    """A visitor of a service that turns everybody away. It waits to be told, or leaves before."""
    last: Step = dice.choice((HearOut(), HearOut(), Leave(), Reset()))
    return Conversation(visitor=(Say(measures.size(dice, KIB)), last), service=())


def unanswered(dice: random.Random, measures: Measures) -> Conversation:
    """A visitor of a service that does not answer. It breaks off, or it or its client waits for nothing."""
    last: Step = dice.choice((Leave(), Reset(), HearOut())) if measures.patient else Reset()
    return Conversation(visitor=(Say(measures.size(dice, KIB)), measures.pause(dice), last), service=())


#: Kind -> its author, and how many of a hundred are of that kind, about. All need a service that serves.
SERVED: Final[Mapping[str, tuple[Author, int]]] = {
    "question": (question, 25),
    "acquaintance": (acquaintance, 15),
    "download": (download, 14),
    "upload": (upload, 14),
    "last word": (last_word, 6),
    "duplex": (duplex, 6),
    "slow reader": (slow_reader, 4),
    "slow writer": (slow_writer, 5),
    "late service": (late_service, 4),
    "visitor resets": (visitor_resets, 6),
    "service resets": (service_resets, 6),
    "leaver": (leaver, 4),
}
