"""The SOCKS5 door: what becomes of a program that connects to the client's SOCKS5 port.

Rule: a program that says who it is, where that is asked, and where it wants to go, is led to the first
gateway that is healthy, which dials or refuses. A gateway that is lost before it has answered is
followed by the next; a gateway that has refused is not asked to be overruled by another.

There is no task for a program: the codec is given what has come, and the relay what to say.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import TYPE_CHECKING, Any, Final

import structlog

from agent.process.descriptors import TOO_MANY, Use, may_have
from schemas.messages import FailureCode
from schemas.names import HostPort
from transport.pump.relay import Relay, RelayEnd
from transport.wire.egress_header import EgressHeader
from transport.wire.errors import LocalProtocolError
from transport.wire.socks5 import UNKNOWN, Connect, Login, Reply, Socks5Error, Write
from transport.wire.socks5_server import Socks5Server

from .link_session import LinkSession, SessionState
from .socks5_replies import reply_to

if TYPE_CHECKING:
    from .socks5 import Programs

HANDSHAKE_TIMEOUT: Final = 10.0
"""Seconds in which a program says where it wants to go."""

# Seconds without an answer after which the session is asked whether it lives. One that does not is lost soon.
_UNEASE: Final = 3.0
# Seconds more. A gateway gives up after ten in all and says so; this is for one that does not.
_OPEN_TIMEOUT: Final = 17.0
# Programs that have not said yet where they want to go. Each costs a descriptor. Beyond so many, who has been
# silent for the longest time makes room: whoever talks has decided in no time.
_MOST_UNDECIDED: Final = 256

_log: Any = structlog.get_logger("socks5")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a program has to say."""

    user: bytes
    password: bytes = field(repr=False)

    def match(self, login: Login) -> bool:
        """Whether it has said that. Takes as long for a guess that is nearly right as for any other."""
        is_user = compare_digest(login.user, self.user)
        return compare_digest(login.password, self.password) and is_user


class Program:
    """What the door knows of a program. ``failure`` says why it was turned away."""

    __slots__ = (
        "code", "connect", "dialed_from", "failure", "has_waited", "heard",
        "link", "server", "source", "started",
    )  # fmt: skip

    def __init__(self, server: Socks5Server, source: str) -> None:
        self.server = server
        self.source = source
        self.started = time.monotonic()
        self.connect: Connect | None = None
        self.link: LinkSession | None = None  # the gateway that was asked last
        self.heard = 0  # bytes that had come on its session when it was asked
        self.has_waited = False  # for so long that the session was looked at
        self.dialed_from = UNKNOWN  # as the gateway says that is about to accept
        self.code: FailureCode | None = None
        self.failure: str | None = None

    def stream_failed(self, code: FailureCode, message: str) -> None:
        """The gateway says why it is about to reset the stream."""
        self.code, self.failure = code, message


class Socks5Door:
    """The owner of the relays of one SOCKS5 port.

    :param listen: what the state file calls the port.
    :param gateways: gives the sessions to the first gateway that is healthy.
    """

    def __init__(
        self,
        listen: str,
        programs: Programs,
        gateways: Callable[[], Sequence[LinkSession]],
        credentials: Credentials | None,
    ) -> None:
        self.credentials = credentials
        self._programs = programs
        self._gateways = gateways
        self._log: Any = _log.bind(listen=listen)

    # RelayOwner

    def connected(self, relay: Relay) -> None:
        host, port = relay.source
        program = relay.note = Program(
            Socks5Server(needs_login=self.credentials is not None), str(HostPort(host, port)) if port else ""
        )
        self._programs.connected.add(relay)
        if not may_have(Use.VISITOR, relay.descriptor):
            self._drop(relay, program, TOO_MANY)
            return
        self._make_room()
        self._programs.undecided[relay] = None
        relay.set_deadline(HANDSHAKE_TIMEOUT)
        relay.peek()

    def peeked(self, relay: Relay) -> None:
        program: Program = relay.note
        try:
            while (event := program.server.next_event(relay.early)) is not None:
                match event:
                    case Write(data=data):
                        relay.say(data)
                    case Login():
                        self._judge(relay, program, event)
                    case Connect():
                        program.connect = event
                        self._programs.undecided.pop(relay, None)
                        self._lead(relay, program, event)
        except Socks5Error as error:
            self._turn_away(relay, program, error.answer, str(error))
        if relay.socket_ended and program.connect is None and program.failure is None:
            self._turn_away(relay, program, b"", "the program ended before it said where it wants to go")

    def timed_out(self, relay: Relay) -> None:
        program: Program = relay.note
        if program.connect is None:
            self._turn_away(
                relay,
                program,
                b"",
                f"the program did not say within {HANDSHAKE_TIMEOUT:g} s where it wants to go",
            )
        elif program.link is not None and not program.has_waited:
            program.has_waited = True
            session = program.link.session
            if session.link.bytes_received == program.heard:
                session.suspect()
            relay.set_deadline(_OPEN_TIMEOUT)
        else:
            self._refuse(relay, program, Reply.GENERAL_FAILURE, "the gateway did not answer")

    def acknowledged(self, relay: Relay) -> None:
        program: Program = relay.note
        relay.clear_deadline()
        program.failure = None
        self._programs.last_error = None
        relay.say(program.server.reply(Reply.SUCCEEDED, *program.dialed_from))
        self._programs.meter.opened(relay)

    def refused(self, relay: Relay) -> None:
        program: Program = relay.note
        assert program.connect is not None  # or there would be no stream
        assert program.link is not None
        program.link.lingering.discard(relay)
        if _may_be_led_elsewhere(program, program.link):
            self._lead(relay, program, program.connect)
        else:
            why = (
                program.failure
                or "the gateway closed the stream without a reason; it may be too old for this"
            )
            self._refuse(relay, program, reply_to(program.code), why)

    def half_closed(self, relay: Relay) -> None:
        relay.note.link.lingering.add(relay)

    def ended(self, relay: Relay, end: RelayEnd) -> None:
        program: Program = relay.note
        self._programs.connected.discard(relay)
        self._programs.undecided.pop(relay, None)
        self._programs.meter.closed(relay)
        if program.link is not None:
            program.link.lingering.discard(relay)
        self._report(relay, program, end)

    # Its own

    def _make_room(self) -> None:
        undecided = self._programs.undecided
        if len(undecided) >= _MOST_UNDECIDED:
            oldest = next(iter(undecided))
            self._drop(
                oldest, oldest.note, "too many others came that do not say either where they want to go"
            )

    def _judge(self, relay: Relay, program: Program, login: Login) -> None:
        # Of a port that has just lost its user, nobody has to log in any more.
        is_right = self.credentials is None or self.credentials.match(login)
        answer = program.server.judge(is_right=is_right)
        if is_right:
            relay.say(answer)
        else:
            why = "the user or the password is wrong; see socks5 in the client's file"
            self._programs.last_error = f"a program at {program.source}: {why}" if program.source else why
            self._turn_away(relay, program, answer, why)

    def _lead(self, relay: Relay, program: Program, connect: Connect) -> None:
        """To the first gateway that can be asked."""
        header = EgressHeader(host=connect.host, port=connect.port)
        tried: list[LinkSession] = []
        while True:
            able = [link for link in self._gateways() if link not in tried]
            if not able:
                why = "no gateway is connected"
                self._refuse(relay, program, Reply.GENERAL_FAILURE, program.failure or why)
                return
            program.link = min(able, key=lambda link: link.session.streams)
            program.code = program.failure = None
            program.dialed_from = UNKNOWN
            program.heard, program.has_waited = program.link.session.link.bytes_received, False
            relay.set_deadline(_UNEASE)
            try:
                program.link.session.open_egress(relay, header, keeps=True)
            except LocalProtocolError as error:
                tried.append(program.link)
                program.link, program.failure = None, str(error)
            else:
                return

    def _refuse(self, relay: Relay, program: Program, reply: Reply, why: str) -> None:
        where = _where(program)  # which a gateway says by itself
        self._programs.last_error = why if where in why else f"{where}: {why}"
        self._turn_away(relay, program, program.server.reply(reply), why)

    def _turn_away(self, relay: Relay, program: Program, answer: bytes, why: str) -> None:
        program.failure = why
        self._programs.undecided.pop(relay, None)
        relay.clear_deadline()
        relay.refuse(answer)

    def _drop(self, relay: Relay, program: Program, why: str) -> None:
        program.failure = why
        self._programs.undecided.pop(relay, None)
        relay.abort()

    def _report(self, relay: Relay, program: Program, end: RelayEnd) -> None:
        """One line for each program, at its end, with all its numbers."""
        is_fine = program.failure is None
        say = self._log.info if is_fine else self._log.warning
        say(
            "program_left" if is_fine else "program_refused",
            program=program.source or None,
            to=_where(program) or None,
            gateway=None if program.link is None else str(program.link.spec.gateway),
            end=end.value,
            reason=program.failure,
            bytes_in=relay.bytes_written,
            bytes_out=relay.bytes_read,
            seconds=round(time.monotonic() - program.started, 3),
        )


def _may_be_led_elsewhere(program: Program, link: LinkSession) -> bool:
    """Whether a stream was reset for a reason that is not the destination's."""
    if link.session.link.is_lost:
        return True
    # A gateway that is about to stop dials nothing more, and may have said so after we asked.
    return link.state is not SessionState.OPEN and program.code in (None, FailureCode.OTHER)


def _where(program: Program) -> str:
    return "" if program.connect is None else str(HostPort(program.connect.host, program.connect.port))
