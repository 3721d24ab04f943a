"""A session: one link, the mux on it, and what the two programs say to each other.

Rule: this file knows who greets whom, what ends a session and why, and when a
peer counts as dead. It does not know where a stream leads, nor who may connect;
its :class:`SessionHandler` does.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Final, Protocol, TypeAlias

import anyio

from schemas.errors import TidegateError
from schemas.messages import (
    PROTOCOL,
    ControlMessage,
    Declare,
    Declared,
    Drain,
    FailureCode,
    Hello,
    Refusal,
    RefusalCode,
    Replaced,
    Services,
    ServicesRefused,
    StreamDialed,
    StreamFailed,
    Welcome,
)

from .offer import Offer, Peek
from .pump.link import Link
from .pump.relay import Relay
from .tls_errors import explain_tls_error
from .wire.control import ControlDecoder, encode_message
from .wire.egress_header import EgressHeader, encode_egress_header, peek_egress_header
from .wire.errors import RemoteProtocolError
from .wire.frames import GoAwayCode
from .wire.keepalive import Keepalive, Verdict
from .wire.mux import MuxStream, Role, StreamSink
from .wire.open_header import OpenHeader, encode_open_header, peek_open_header
from .wire.window import INITIAL_WINDOW

GREETING_TIMEOUT: Final = (
    10.0  # seconds for hello and welcome: a peer that connects and is silent holds nothing longer
)

# Bytes of credit that what is said of streams leaves for other messages. A service that is down can fail
# thousands of streams in the seconds that a link with a long queue needs: no reason to end the session.
_FOR_OTHER_MESSAGES: Final = INITIAL_WINDOW // 2

CONTROL_STREAM: Final = 1  # the client's first stream

# The value of the ping that follows a drain. The keepalive counts up from 1, and does not come here.
_DRAIN_PING: Final = 0xFFFFFFFF

# In TLS 1.3 a client is done before the gateway has looked at its certificate. OpenSSL makes an alert that
# says what is wrong with it, but asyncio, uvloop and aiofastnet close without sending it: only the end comes.
_TURNED_AWAY: Final = (
    "the gateway closed the connection without a word: it may not accept this client's certificate "
    "(of another CA, expired, or for another purpose); its log says why"
)

LaterMessage: TypeAlias = (
    Services | ServicesRefused | Declare | Declared | StreamFailed | StreamDialed | Replaced | Drain
)


class SessionLostError(TidegateError):
    """The session ended before the greeting was over."""


class HelloRefusedError(SessionLostError):
    """The client does not begin as this version of the gateway would have it, and has been told so."""


class SessionRefusedError(TidegateError):
    """The gateway does not take this client on."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.code = refusal.code


class SessionHandler(Protocol):
    """Who decides what the peer's wishes come to."""

    def message_received(self, message: LaterMessage) -> None:
        """The peer said something after the greeting."""

    def stream_offered(self, session: Session, offer: Offer) -> None:
        """The peer opened a stream and its header is there: a client for egress, a gateway for a visitor."""


class _State(Enum):
    GREETING = auto()
    OPEN = auto()
    LOST = auto()


class Session:
    """One session. Made by :meth:`greet` on a client and by :meth:`accept` on a gateway."""

    def __init__(self, link: Link, role: Role, handler: SessionHandler) -> None:
        self.link = link
        self.round_trip: float | None = None  # seconds, of the last answered ping
        self.end_reason = ""
        self.is_drained = False  # whether the peer has heard that we drain, and so opens no more streams
        self._role = role
        self._peek: Peek = peek_open_header if role is Role.CLIENT else peek_egress_header
        self._handler = handler
        self._state = _State.GREETING
        self._decoder = ControlDecoder()
        self._control: MuxStream | None = None
        self._first: ControlMessage | None = None
        self._changed = anyio.Event()  # replaced whenever the greeting or the session's life moves on
        self._keepalive: Keepalive | None = None
        link.start(self)

    # The greeting

    @classmethod
    async def greet(cls, link: Link, hello: Hello, handler: SessionHandler) -> tuple[Session, Welcome]:
        """Say hello, as the client.

        :raises SessionRefusedError: if the gateway says no, with what to do about it.
        :raises SessionLostError: if the link ends, or the gateway says something else or nothing.
        """
        session = cls(link, Role.CLIENT, handler)
        if not link.is_lost:
            session._control = link.mux.open_stream(session._control_sink(), encode_message(hello))
        match await session._wait_first():
            case Welcome(protocol=protocol) as welcome if protocol == PROTOCOL:
                return session, welcome
            case Welcome(protocol=protocol):
                session.close("the greeting failed")
                raise SessionLostError(_wrong_protocol(gateway=protocol, client=PROTOCOL))
            case Refusal() as refusal:
                session.close(refusal.message)
                raise SessionRefusedError(refusal)
            case other:
                session.close("the greeting failed")
                raise SessionLostError(f"the gateway answered the hello with {other.type}")

    @classmethod
    async def accept(cls, link: Link, handler: SessionHandler) -> tuple[Session, Hello]:
        """Wait for the hello, as the gateway. The caller answers it: :meth:`welcome` or :meth:`refuse`.

        :raises SessionLostError: if no hello comes.
        :raises HelloRefusedError: if something else does, or one of another protocol version.
        """
        session = cls(link, Role.SERVER, handler)
        hello = await session._wait_first()
        if not isinstance(hello, Hello):
            message = f"the client began with {hello.type} instead of a hello"
            session.refuse(RefusalCode.MALFORMED, message)
            raise HelloRefusedError(message)
        if hello.protocol != PROTOCOL:
            message = _wrong_protocol(gateway=PROTOCOL, client=hello.protocol)
            session.refuse(RefusalCode.WRONG_PROTOCOL, message)
            raise HelloRefusedError(message)
        return session, hello

    def welcome(self, *, gateway: str, software: str, instance: str = "") -> None:
        """Take the client on.

        :param instance: tells the gateway's process from any other.
        """
        self.tell(Welcome(protocol=PROTOCOL, gateway=gateway, software=software, instance=instance))
        if self._state is _State.GREETING:
            self._state = _State.OPEN

    def refuse(self, code: RefusalCode, message: str, *, reason: str = "") -> None:
        """Do not take the client on, or no longer; ``message`` tells its operator what to do.

        :param reason: why the session ended, as the gateway says it itself; "" for the same words.
        """
        self.tell(Refusal(code=code, message=message))
        self.close(reason or message)

    @property
    def is_open(self) -> bool:
        """Whether streams can be opened."""
        return self._state is _State.OPEN and self.link.mux.can_open

    # Streams

    def open(self, relay: Relay, header: OpenHeader, *, keeps: bool = False) -> None:
        """Open a stream for a visitor and join it.

        :param keeps: whether the visitor can be led elsewhere with all that it has said.
        :raises LocalProtocolError: if the session can open no more streams.
        """
        relay.open(self.link, encode_open_header(header), keeps=keeps)
        if self.link.mux.is_used_up:
            self._notify()

    def open_egress(self, relay: Relay, header: EgressHeader, *, keeps: bool = False) -> None:
        """Open a stream to what the gateway is to dial for a program, and join it.

        :param keeps: whether the program can be led to another gateway with all that it has said.
        :raises LocalProtocolError: if the session can open no more streams.
        """
        relay.open(self.link, encode_egress_header(header), keeps=keeps)
        if self.link.mux.is_used_up:
            self._notify()

    def fail_stream(self, stream: MuxStream, code: FailureCode, message: str) -> None:
        """Reset a stream that the peer opened, and say why, unless it has a lot of that to read already."""
        if stream.is_closed:
            return
        self._tell_of_stream(StreamFailed(stream=stream.id, code=code, message=message))
        stream.reset()

    def tell_source(self, stream: MuxStream, host: str, port: int) -> None:
        """Say from where we have dialed for a stream of the peer's, which is to be accepted; unless as above.

        :param host: an IP address without a zone.
        """
        if not stream.is_closed:
            self._tell_of_stream(StreamDialed(stream=stream.id, source=(host, port)))

    # Messages

    def tell(self, message: ControlMessage) -> None:
        """Say something now. A peer that leaves 256 KiB of messages unread loses the session."""
        if self._control is None or self._state is _State.LOST or not self._control.may_send:
            return
        line = encode_message(message)
        if len(line) > self._control.send_credit:
            self.close("the peer does not read its messages")
            return
        self._control.send(line)

    def drain(self) -> None:
        """Say that we are about to stop. Streams that the peer has opened before it heard of it still come.

        Frames keep their order, and so no stream comes behind the answer to a ping that is sent behind this.
        """
        if self._state is _State.OPEN and not self.link.is_lost:
            self.is_drained = False
            self.tell(Drain())
            self.link.mux.ping(_DRAIN_PING)

    @property
    def streams(self) -> int:
        """How many streams there are for visitors."""
        streams = self.link.mux.streams
        return len(streams) - (CONTROL_STREAM in streams)

    async def run(self, *, ping_interval: float, ping_timeout: float) -> str:
        """Keep the session alive until it ends; the reason why it ended.

        :param ping_interval: seconds between pings.
        :param ping_timeout: seconds of silence after a ping that mean the peer is dead.
        """
        # Not the loop's clock: uvloop's counts whole milliseconds, too few for a round trip.
        keepalive = Keepalive(interval=ping_interval, timeout=ping_timeout, now=time.monotonic())
        self._keepalive = keepalive
        while self._state is not _State.LOST:
            if self.link.mux.is_used_up:  # after days without a pause; the client comes back with a new one
                self.close("the session has used up its stream ids")
                break
            changed = self._changed
            with anyio.move_on_after(keepalive.next_deadline() - time.monotonic()):
                await changed.wait()
                continue
            match keepalive.handle_timeout(time.monotonic(), self.link.bytes_received):
                case Verdict.PING:
                    self.link.mux.ping(keepalive.value)
                    self._look()
                case Verdict.DEAD:
                    self._end(f"nothing was heard for {keepalive.timeout:g} s after a ping")
                    self.link.abort()
                case Verdict.WAIT:
                    pass
        return self.end_reason

    def set_timing(self, *, ping_interval: float, ping_timeout: float) -> None:
        """Keep the session alive by other times than :meth:`run` was given."""
        if self._keepalive is not None:
            self._keepalive.change(interval=ping_interval, timeout=ping_timeout, now=time.monotonic())
            self._notify()

    def suspect(self) -> None:
        """Ask for a sign of life now, and end the session soon if there is none: somebody waits in vain."""
        if self._keepalive is not None:
            self._keepalive.suspect(time.monotonic(), self.link.bytes_received)
            self._notify()

    def close(self, reason: str) -> None:
        """End the session with a goodbye."""
        self._end(reason)
        self.link.close()

    # LinkOwner

    def stream_offered(self, stream: MuxStream) -> StreamSink | None:
        if self._role is Role.CLIENT or self._control is not None:
            if self._state is not _State.OPEN:
                return None
            return Offer(stream, self.link.held, self, self._peek)
        if stream.id != CONTROL_STREAM:
            return None
        stream.accept()
        self._control = stream
        return self._control_sink()

    def pong(self, value: int) -> None:
        if value == _DRAIN_PING:
            self.is_drained = True
        if self._keepalive is not None:
            self._keepalive.pong(value, time.monotonic())
            self.round_trip = self._keepalive.round_trip
            if self.round_trip is not None:
                self.link.mux.growth.round_trip_measured(self.round_trip)

    def going_away(self, code: GoAwayCode) -> None:
        if code is not GoAwayCode.NORMAL:
            self.close(f"the peer ended the session ({code.name.lower().replace('_', ' ')})")

    def link_lost(self, error: Exception | None) -> None:
        if self._role is Role.CLIENT and self._state is _State.GREETING:
            match error:
                case ssl.SSLError():
                    self._end(explain_tls_error(error))
                    return
                case None | OSError():
                    self._end(_TURNED_AWAY)
                    return
        self._end(str(error) if error is not None and str(error) else "the peer closed the connection")

    # OfferOwner

    def offer_ready(self, offer: Offer) -> None:
        self._handler.stream_offered(self, offer)

    def offer_failed(self, offer: Offer, code: FailureCode, message: str) -> None:
        self.fail_stream(offer.stream, code, message)

    # Its own

    def _control_sink(self) -> StreamSink:
        return _ControlSink(self._control_received, self._control_ended)

    def _control_received(self, chunk: memoryview) -> None:
        assert self._control is not None  # or nothing could arrive on it
        self._control.take(len(chunk))
        try:
            messages = self._decoder.receive_data(chunk)
        except RemoteProtocolError as error:
            if self._role is Role.SERVER and self._state is _State.GREETING:
                self.tell(Refusal(code=RefusalCode.MALFORMED, message=str(error)))
            raise
        for message in messages:
            if self._state is _State.LOST:
                return
            self._message_received(message)

    def _message_received(self, message: ControlMessage) -> None:
        if self._first is None:
            self._first = message
            if self._role is Role.CLIENT and isinstance(message, Welcome):
                self._state = _State.OPEN
            self._notify()
        elif self._state is _State.GREETING:
            raise RemoteProtocolError(f"the peer said {message.type} before the greeting was over")
        elif isinstance(message, Refusal) and self._role is Role.CLIENT:
            self.close(f"refused: {message.message}")
        elif isinstance(message, LaterMessage):
            self._handler.message_received(message)
        else:
            raise RemoteProtocolError(f"the peer said {message.type} after the greeting")

    def _control_ended(self) -> None:
        if not self.link.is_lost:  # else the link says why
            self.close("the peer ended the session")

    def _tell_of_stream(self, message: StreamFailed | StreamDialed) -> None:
        if self._control is not None and self._control.send_credit > _FOR_OTHER_MESSAGES:
            self.tell(message)

    def _look(self) -> None:
        for stream in list(self.link.mux.streams.values()):
            if isinstance(stream.sink, Relay | Offer):
                stream.sink.look()

    def _end(self, reason: str) -> None:
        if self._state is not _State.LOST:
            self._state = _State.LOST
            self.end_reason = reason
            self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def _wait_first(self) -> ControlMessage:
        try:
            with anyio.move_on_after(GREETING_TIMEOUT):
                while self._first is None and self._state is not _State.LOST:
                    await self._changed.wait()
        except anyio.get_cancelled_exc_class():
            self.close("cancelled")
            raise
        if self._first is not None:
            return self._first
        self.close(self.end_reason or f"no greeting came within {GREETING_TIMEOUT:g} s")
        raise SessionLostError(self.end_reason)


def _wrong_protocol(*, gateway: int, client: int) -> str:
    return (
        f"the gateway speaks protocol {gateway} and the client protocol {client}: "
        f"upgrade the {'client' if client < gateway else 'gateway'}"
    )


class _ControlSink:
    """The receiving end of stream 1."""

    def __init__(self, received: Callable[[memoryview], None], ended: Callable[[], None]) -> None:
        self.data = received
        self.fin = ended
        self.reset = ended

    def acknowledged(self) -> None:
        """Nothing waits for it: the answer to the hello is a message."""

    def credit(self) -> None:
        """Messages are sent whole or not at all."""
