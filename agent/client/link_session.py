"""One session of a client, from its welcome to its end.

Rule: a session that is to end is not cut: the gateway is told that it drains, and
brings no more visitors; those who are there may finish, for as long as the limit
says. Who starts a session, and when it is to end, is decided in ``connector``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import Enum, auto
from typing import Final, TypeAlias

import anyio

from agent.lingering import Lingering
from agent.process.looking import until
from agent.process.spawn import Spawn
from reconcile.desired import LinkSpec
from schemas.messages import (
    Declared,
    Drain,
    Hello,
    Replaced,
    ServicesRefused,
    StreamDialed,
    StreamFailed,
    Welcome,
)
from transport.offer import Offer
from transport.pump.link import Link
from transport.pump.relay import Relay
from transport.session import LaterMessage, Session

from .places import Place
from .services import Services

REPLACED: Final = "another process connected with this client's certificate; stop one of the two"
DRAINED: Final = "the gateway stopped, as it had announced"

# What a gateway opened before it heard of the drain is on its way until it answers. One that does not answer
# in this time is dead, or so far away that nobody waits for it.
_ANSWER_TIMEOUT: Final = 5.0


# Told of what the gateway makes of what this client offers and declares.
Listen: TypeAlias = Callable[["LinkSession", ServicesRefused | Declared], None]


class SessionState(Enum):
    OPEN = auto()
    GATEWAY_DRAINS = auto()  # it brings no more visitors, and will end the session
    LEAVING = auto()  # we said so to the gateway, and will end the session
    OVER = auto()


class LinkSession:
    """A session, and its handler. ``number`` is what it is called at the gateway.

    ``instance`` is the process of the gateway that answered; if that does not say, it is taken for another
    one than any that is reached elsewhere.

    :param changed: called whenever the state has changed.
    """

    def __init__(
        self,
        spec: LinkSpec,
        place: Place,
        number: int,
        services: Services,
        clock: Callable[[], datetime],
        changed: Callable[[LinkSession], None],
    ) -> None:
        self.spec = spec
        self.place = place
        self.instance = f"? {place}"
        self.number = number
        self.reason = ""  # why it ended
        self.lasted = 0.0  # seconds, once it is over
        self.was_replaced = False
        self._session: Session | None = None  # until the greeting is over
        self._services = services
        self._clock = clock
        self._changed = changed
        self.lingering = Lingering(spec.timing.half_close_timeout)
        self._said: dict[
            type, ServicesRefused | Declared
        ] = {}  # the last of each kind, until somebody listens
        self._listener: Listen | None = None
        self._set(SessionState.OPEN)

    @property
    def session(self) -> Session:
        """The session itself, once it has been greeted."""
        assert self._session is not None
        return self._session

    @property
    def state(self) -> SessionState:
        return self._state

    @property
    def since(self) -> datetime:
        """When it came into that state."""
        return self._since

    @property
    def visitors(self) -> int:
        """How many visitors it has now."""
        return sum(isinstance(stream.sink, Relay) for stream in self.session.link.mux.streams.values())

    async def greet(self, link: Link, hello: Hello) -> Welcome:
        """Say hello.

        :raises TidegateError: if there is no welcome.
        """
        self._session, welcome = await Session.greet(link, hello, self)
        self.instance = welcome.instance or self.instance
        if self.was_replaced:  # said in one breath with the welcome
            self._session.close(REPLACED)
        return welcome

    def listen(self, listener: Listen) -> None:
        """Tell of what the gateway says of our services and tunnels, and of what it has said already."""
        self._listener = listener
        said, self._said = self._said, {}
        for message in said.values():
            listener(self, message)

    async def run(self, spawn: Spawn) -> None:
        """Keep it alive until it ends.

        :param spawn: starts what outlives it.
        """
        timing = self.spec.timing
        began = anyio.current_time()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.lingering.run)
                reason = await self.session.run(
                    ping_interval=timing.ping_interval, ping_timeout=timing.ping_timeout
                )
                self.reason = DRAINED if self._state is SessionState.GATEWAY_DRAINS else reason
                tasks.cancel_scope.cancel()
        except Exception:
            self.session.close("a defect in Tidegate, which the log shows; please report it")
            raise
        finally:
            self.session.close("the client is stopping")
            self.reason = self.reason or self.session.end_reason  # none was given to what was cut short
            self.lasted = anyio.current_time() - began
            self._set(SessionState.OVER)
            self._changed(self)
            spawn(self.lingering.run_out)

    async def leave(self, limit: float, reason: str) -> None:
        """Let the visitors who are there finish, and end it then, or at the limit in seconds."""
        if self._state is SessionState.OVER:
            return
        self._set(SessionState.LEAVING)
        self._changed(self)
        self.session.drain()
        try:
            with anyio.move_on_after(limit):
                with anyio.move_on_after(_ANSWER_TIMEOUT):
                    await until(lambda: self.session.is_drained or self._is_over)
                await until(lambda: not self.session.streams or self._is_over)
        finally:
            self.session.close(reason)

    def _opening(self, stream_id: int) -> Relay | None:
        """Whoever waits for that stream to be accepted: a program, as nobody else opens any from here."""
        if self._session is None:
            return None  # said in one breath with the welcome, of a stream that nobody has opened
        stream = self._session.link.mux.streams.get(stream_id)
        if stream is not None and isinstance(stream.sink, Relay) and stream.sink.is_opening:
            return stream.sink
        return None

    @property
    def _is_over(self) -> bool:
        return self._state is SessionState.OVER

    def _set(self, state: SessionState) -> None:
        self._state = state
        self._since = self._clock()

    # SessionHandler

    def message_received(self, message: LaterMessage) -> None:
        match message:
            case Replaced():
                self.was_replaced = True
                self._changed(self)
                if self._session is not None:
                    self._session.close(REPLACED)  # so that the status, too, says why
            case Drain() if self._state is SessionState.OPEN:
                self._set(SessionState.GATEWAY_DRAINS)
                self._changed(self)
            case ServicesRefused() | Declared():
                if self._listener is not None:
                    self._listener(self, message)
                else:
                    self._said[type(message)] = message
            case StreamFailed(stream=stream_id, code=code, message=text):
                relay = self._opening(stream_id)
                if relay is not None:
                    relay.note.stream_failed(code, text)
            case StreamDialed(stream=stream_id, source=source):
                relay = self._opening(stream_id)
                if relay is not None:
                    relay.note.dialed_from = source
            case _:
                pass  # only a client says anything else, and a drain once is enough

    def stream_offered(self, session: Session, offer: Offer) -> None:
        self._services.connect(offer, session, self.lingering)
