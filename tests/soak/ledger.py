"""What became of a conversation, and whether that may be.

Rule: pure. It knows what each side said and heard and how each heard the other end, and from that alone
decides. What is not excused is an orderly end before the last byte: whoever hears that takes a part for
the whole. Only whoever was joined to a process that was killed may hear one, for there it is the kernel that
ends the connection, and the other side of a unix socket, which has no other end.

A cut link and a killed client excuse that a conversation stops, or never begins; they excuse nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from .script import Conversation, Leave, Reset


class Ending(Enum):
    """How one direction ended."""

    OPEN = "has not ended"
    END = "an orderly end"
    RESET = "a reset"
    EITHER = (
        "an end or a reset"  # closed with something still unheard: which of the two is the kernel's to say
    )
    REFUSAL = "a refusal"  # the gateway said in the visitor's language that nobody serves it


@dataclass(slots=True)
class Side:
    """What one side of a conversation did and found. ``trouble`` is what may never be."""

    said: int = 0
    heard: int = 0
    said_end: Ending = Ending.OPEN
    heard_end: Ending = Ending.OPEN
    is_done: bool = False  # its script went to the end
    trouble: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        said = f"said {self.said:,} bytes and {self.said_end.value}"
        return f"{said}, heard {self.heard:,} bytes and {self.heard_end.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a conversation has to reckon with.

    :param excused: the link was cut, or its client killed, while it lasted.
    :param gateway_killed: it was the gateway that was killed. The kernel closes the sockets of a process that
        is killed in peace, so its peers may take a part for the whole: here visitors.
    :param client_killed: it was the client. Its peers are the services.
    :param in_vain: nobody is there to serve it.
    :param silent: the visitor does not say which conversation it is, so its service cannot be known.
    :param unix: the service is behind a unix socket, which knows no reset: one that is cut off there, ends.
    """

    excused: bool = False
    gateway_killed: bool = False
    client_killed: bool = False
    in_vain: bool = False
    silent: bool = False
    unix: bool = False


class Outcome(Enum):
    """What a conversation came to."""

    WHOLE = "whole"  # every byte arrived, and both ends
    AS_SCRIPTED = "broken off as scripted"
    TURNED_AWAY = "turned away"
    CUT = "cut, excused"
    WRONG = "WRONG"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What it came to, and what was wrong with it."""

    outcome: Outcome
    faults: tuple[str, ...] = ()


def judge(conversation: Conversation, visitor: Side, service: Side | None, terms: Terms) -> Verdict:
    """Whether that may be.

    :param service: None if the conversation never reached one.
    """
    peaceful = not terms.silent and not terms.in_vain and not _breaks_off(conversation)
    faults = tuple(_faults(visitor, service, terms, peaceful=peaceful))
    if faults:
        outcome = Outcome.WRONG
    elif peaceful and visitor.is_done and service is not None and service.is_done:
        outcome = Outcome.WHOLE
    elif visitor.heard_end is Ending.REFUSAL or (visitor.heard_end is Ending.END and not visitor.heard):
        outcome = Outcome.TURNED_AWAY
    else:
        outcome = Outcome.CUT if peaceful else Outcome.AS_SCRIPTED
    return Verdict(outcome=outcome, faults=faults)


def _faults(visitor: Side, service: Side | None, terms: Terms, *, peaceful: bool) -> Iterator[str]:
    yield from (f"the visitor {trouble}" for trouble in visitor.trouble)
    yield from _visitor_heard(visitor, service, terms)
    if service is not None:
        yield from (f"the service {trouble}" for trouble in service.trouble)
        yield from _service_heard(service, visitor, terms)
    if peaceful and not terms.excused:
        if service is None:
            yield "it never reached its service"
        elif not (visitor.is_done and service.is_done):
            yield "it did not come to its end, and nothing had been cut"


def _visitor_heard(visitor: Side, service: Side | None, terms: Terms) -> Iterator[str]:
    nobody_serves = terms.excused or terms.in_vain
    if visitor.heard > (0 if service is None else service.said):
        yield f"the visitor heard {visitor.heard:,} bytes, more than anybody said"
    match visitor.heard_end:
        case Ending.REFUSAL if visitor.heard:
            yield f"the visitor was refused behind {visitor.heard:,} bytes of the service's"
        case Ending.REFUSAL if not nobody_serves:
            yield "the visitor was refused, and nothing had been cut"
        case Ending.END if not _is_whole(visitor, service, terms):
            if visitor.heard and not terms.gateway_killed:
                yield _lost_tail("visitor", visitor, service)
            elif not nobody_serves:
                yield "the visitor was turned away, and nothing had been cut"
        case Ending.RESET if not nobody_serves and not _may_be_reset_by(service):
            yield "the visitor was reset, and nothing had been cut"
        case _:
            pass


def _service_heard(service: Side, visitor: Side, terms: Terms) -> Iterator[str]:
    if service.heard > visitor.said:
        yield f"the service heard {service.heard:,} bytes, more than the visitor said"
    match service.heard_end:
        case Ending.END if not _is_whole(service, visitor, terms):
            cut_off_in_peace = terms.unix and (terms.excused or _may_be_reset_by(visitor))
            if not cut_off_in_peace and not terms.client_killed:
                yield _lost_tail("service", service, visitor)
        case Ending.RESET if not terms.excused and not _may_be_reset_by(visitor):
            yield "the service was reset, and nothing had been cut"
        case _:
            pass


def _is_whole(hearer: Side, speaker: Side | None, terms: Terms) -> bool:
    """Whether an orderly end is the truth."""
    if speaker is None or hearer.heard != speaker.said:
        return False
    said_so = speaker.said_end in (Ending.END, Ending.EITHER)
    return said_so or (terms.unix and speaker.said_end is Ending.RESET)


def _may_be_reset_by(speaker: Side | None) -> bool:
    return speaker is not None and speaker.said_end in (Ending.RESET, Ending.EITHER)


def _lost_tail(who: str, hearer: Side, speaker: Side | None) -> str:
    of = "nobody's" if speaker is None else f"{speaker.said:,}"
    ended = "" if speaker is None else f", and the other side {speaker.said_end.value}"
    return f"a lost tail: the {who} heard an orderly end behind {hearer.heard:,} bytes of {of}{ended}"


def _breaks_off(conversation: Conversation) -> bool:
    return any(isinstance(step, Reset | Leave) for step in (*conversation.visitor, *conversation.service))
