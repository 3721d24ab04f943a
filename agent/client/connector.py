"""The client's links: its sessions to each gateway, for ever.

Rule: a link that is declared is kept. Whatever ends a session, the next attempt
follows after a delay that doubles up to half a minute and is jittered over its
whole length, so that a gateway that comes back is not met by all its clients at once.

A session that is no longer to be what it is serves until there is another one in its
place, and then drains, as does one that is not to be kept at all.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import anyio
import anyio.to_thread
import structlog

from agent.actuator import Failed
from agent.events import EventKind, Publish, publish_nowhere
from agent.keys.credentials import link_context
from agent.process.looking import until
from agent.process.running import Running
from agent.process.spawn import Spawn
from agent.session_numbers import SessionNumbers
from agent.version import SOFTWARE
from reconcile.desired import Key, LinkSpec, key_of
from reconcile.retry import backoff
from schemas.errors import TidegateError
from schemas.messages import PROTOCOL, Hello
from schemas.messages import Services as ServicesMessage
from schemas.status import LinkPhase, LinkStatus
from transport.pump.link import Link
from transport.pump.sockets import dial_link
from transport.session import SessionLostError, SessionRefusedError
from transport.tls import TlsError, check_alpn
from transport.tls_errors import explain_tls_error

from .link_session import REPLACED, LinkSession, SessionState
from .services import Services

_CONNECT_TIMEOUT: Final = 10.0
# A session that lasted this long was a good one: the next attempt starts from the shortest
# delay. Two machines with one certificate would otherwise replace each other without a pause.
_GOOD_SESSION: Final = 5.0

_log: Any = structlog.get_logger("links")


class GatewayLink:
    """A session to one gateway, kept until closed."""

    is_alive = True  # a death is told

    def __init__(self, spec: LinkSpec, links: GatewayLinks, failed: Failed) -> None:
        self._spec = spec
        self._links = links
        self._keeping = Running(failed)
        self._news = anyio.Event()  # set when waiting any longer would be wrong
        self._current: LinkSession | None = None
        self._number = spec.session  # what its last session was called at the gateway
        self._log = _log.bind(gateway=str(spec.gateway), session=spec.session)
        self._attempts = 0  # since it was last connected
        self._setbacks = 0  # attempts and short sessions in a row: what the delay grows with
        self._is_up = False  # whether a session has been told of that has not been lost
        self._set(LinkPhase.CONNECTING, "")

    @property
    def is_connected(self) -> bool:
        return self._phase is LinkPhase.CONNECTED

    @property
    def visitors(self) -> int:
        """How many visitors its session has now."""
        return 0 if self._current is None else self._current.visitors

    def start(self, ended: Callable[[], None]) -> None:
        """Connect again and again, until closed; then call ``ended``."""
        self._links.spawn(self._keeping.run, self._keep, ended)

    async def update(self, spec: LinkSpec) -> None:
        """Use the new settings from the next session on, which is tried for now."""
        self._spec = spec
        self._setbacks = 0
        self._news.set()

    async def close(self) -> None:
        """Keep no session. The one that is there may drain; it is no longer this link's."""
        await self._keeping.stop()
        session, self._current = self._current, None
        if session is not None:
            self._links.leave(session, "the client no longer keeps this session")

    def status(self) -> LinkStatus:
        return LinkStatus(
            gateway=str(self._spec.gateway),
            session=self._spec.session,
            phase=self._phase,
            message=self._message,
            since=self._since,
            attempts=self._attempts,
            next_attempt_at=self._next_attempt_at,
        )

    def services_changed(self) -> None:
        """Tell the gateway what is offered now."""
        if self._current is not None:
            self._current.session.tell(ServicesMessage(services=self._links.services.names))

    async def _keep(self, ended: Callable[[], None]) -> None:
        try:
            while True:
                self._news = anyio.Event()
                failure: tuple[LinkPhase, str] | None = None
                if self._current is not None and self._current.state is SessionState.OVER:
                    failure = self._lost(self._current)
                elif self._wants_another():
                    failure = await self._attempt()
                else:
                    if self._phase is LinkPhase.CONNECTED and self._message:
                        self._set(LinkPhase.CONNECTED, "")  # the settings of before are wanted again
                    await self._news.wait()
                if failure is not None:
                    await self._pause(*failure)
        finally:
            ended()

    def _wants_another(self) -> bool:
        """Whether a session is to be tried for. There is none behind one that the gateway itself will end."""
        current = self._current
        return current is None or (current.state is SessionState.OPEN and current.spec != self._spec)

    def _lost(self, session: LinkSession) -> tuple[LinkPhase, str]:
        self._current = None
        if session.lasted >= _GOOD_SESSION:
            self._setbacks = 0
        return LinkPhase.WAITING, session.reason

    async def _pause(self, phase: LinkPhase, reason: str) -> None:
        """Say what is wrong, and wait for the next attempt, or for news."""
        if self._current is not None and self._current.state is SessionState.OVER:
            self._current = None  # it ended while another one was tried for
        delay = self._next_delay(was_replaced=reason == REPLACED)
        again_at = self._links.clock() + timedelta(seconds=delay)
        if self._current is None:
            self._log.warning("link_down", reason=reason, retry_in=round(delay, 1))
            self._set(phase, reason, again_at)
        else:
            self._log.warning("link_not_renewed", reason=reason, retry_in=round(delay, 1))
            message = f"the settings of before are still in use, for with the new ones: {reason}"
            self._set(self._phase, message, again_at)
        with anyio.move_on_after(delay):
            await self._news.wait()

    def _next_delay(self, *, was_replaced: bool) -> float:
        unit = random.random()  # noqa: S311 - jitter is no secret
        if was_replaced:
            # The other process loses all its sessions to the first of ours. The shortest of many delays would
            # be next to none, so each is half of its length at least.
            unit = (1 + unit) / 2
        delay = backoff(self._setbacks, unit)
        self._setbacks += 1
        return delay

    async def _attempt(self) -> tuple[LinkPhase, str] | None:
        """Connect. Of an attempt that fails: what to show until the next one, and why."""
        self._attempts += 1
        if self._current is None:
            self._set(LinkPhase.CONNECTING, "")
        try:
            session = await self._greet()
        except SessionRefusedError as error:
            return LinkPhase.REFUSED, f"refused: {error}"
        except TidegateError as error:
            return LinkPhase.WAITING, str(error)
        except Exception as error:  # noqa: BLE001 - a link is kept, also by a program with a defect
            self._log.error("link_failed", exc_info=error)
            return LinkPhase.WAITING, f"a defect in Tidegate: {type(error).__name__}; please report it"
        self._take_on(session)
        return None

    async def _greet(self) -> LinkSession:
        """A new session.

        :raises TidegateError: if there is none.
        """
        spec, links = self._spec, self._links
        number = links.numbers.take(spec.gateway, self._number)
        if number is None:
            raise SessionLostError(
                "as many sessions as a gateway takes are draining; one of them must end first"
            )
        try:
            link = await _dial(spec)
            session = LinkSession(spec, number, links.services, links.clock, self._heard)
            hello = Hello(
                protocol=PROTOCOL,
                id=spec.client_id,
                software=SOFTWARE,
                services=links.services.names,
                instance=links.instance,
                session=number,
            )
            welcome = await session.greet(link, hello)
        except BaseException:
            links.numbers.give_back(spec.gateway, number)
            raise
        self._log.info("link_up", name=welcome.gateway, software=welcome.software, number=number)
        if links.services.names != hello.services:
            session.session.tell(ServicesMessage(services=links.services.names))
        return session

    def _take_on(self, session: LinkSession) -> None:
        """Visitors are served by this session from now on."""
        before, self._current = self._current, session
        self._number = session.number
        self._attempts = 0
        self._set(LinkPhase.CONNECTED, "")
        self._links.serve(session)
        self._heard(session)  # what was said in one breath with the welcome
        if before is not None:
            self._links.leave(before, "there is another one in the place of this session")

    def _heard(self, session: LinkSession) -> None:
        """The state of a session has changed."""
        if session is not self._current:
            return
        self._news.set()
        if session.state is SessionState.OVER:
            self._set(LinkPhase.CONNECTING, session.reason)  # it may be that another one is tried for already
        elif session.state is SessionState.GATEWAY_DRAINS:
            self._log.info("gateway_drains")
            self._set(LinkPhase.DRAINING, "the gateway is stopping; visitors who are there may finish")
        elif session.was_replaced and session.state is SessionState.OPEN:
            self._log.warning("session_replaced", reason=REPLACED)

    def _set(self, phase: LinkPhase, message: str, next_attempt_at: datetime | None = None) -> None:
        self._tell(phase, message)
        self._phase = phase
        self._message = message
        self._since = self._links.clock()
        self._next_attempt_at = next_attempt_at

    def _tell(self, phase: LinkPhase, message: str) -> None:
        """Publish that there is a session now, or none any more. One that drains is there."""
        is_up = phase in (LinkPhase.CONNECTED, LinkPhase.DRAINING)
        if is_up is self._is_up:
            return
        self._is_up = is_up
        which: dict[str, Any] = {"gateway": str(self._spec.gateway), "session": self._spec.session}
        if is_up:
            self._links.publish(EventKind.LINK_CONNECTED, **which)
        else:
            self._links.publish(EventKind.LINK_LOST, **which, reason=message)


class GatewayLinks:
    """Opens links, and sees to sessions that no link keeps any more.

    :param spawn: starts tasks that live as long as the client.
    :param drain_limit: gives the seconds that such a session has for its visitors.
    :param publish: told when a link has a session, and when it has lost it.
    """

    def __init__(
        self,
        services: Services,
        spawn: Spawn,
        clock: Callable[[], datetime],
        drain_limit: Callable[[], float],
        publish: Publish = publish_nowhere,
    ) -> None:
        self.services = services
        self.publish = publish
        self.spawn = spawn
        self.clock = clock
        self.instance = secrets.token_hex(8)  # tells a gateway which sessions are of this process
        self.numbers = SessionNumbers()
        self._drain_limit = drain_limit
        self._links: dict[Key, GatewayLink] = {}
        self._leaving: list[LinkSession] = []

    async def __call__(self, spec: LinkSpec, failed: Failed) -> GatewayLink:
        key = key_of(spec)
        link = self._links[key] = GatewayLink(spec, self, failed)
        link.start(ended=partial(self._forget, key, link))
        return link

    def services_changed(self) -> None:
        for link in self._links.values():
            link.services_changed()

    def status(self) -> tuple[LinkStatus, ...]:
        """Of every link, and of the sessions that drain beside them."""
        statuses = [link.status() for link in self._links.values()]
        statuses += [
            LinkStatus(
                gateway=str(session.spec.gateway),
                session=session.spec.session,
                phase=LinkPhase.DRAINING,
                message="this session is no longer kept; visitors who are there may finish",
                since=session.since,
                attempts=0,
                next_attempt_at=None,
            )
            for session in self._leaving
        ]
        return tuple(sorted(statuses, key=lambda status: (status.gateway, status.session)))

    def visits(self) -> Mapping[Key, int]:
        """How many visitors each link has now."""
        return {key: link.visitors for key, link in self._links.items()}

    @property
    def is_connected(self) -> bool:
        """Whether every link has a session."""
        return all(link.is_connected for link in self._links.values())

    @property
    def leaving(self) -> int:
        """How many sessions drain, and are not over yet."""
        return len(self._leaving)

    def serve(self, session: LinkSession) -> None:
        """Let it run until it ends."""
        self.spawn(self._serve, session)

    def leave(self, session: LinkSession, reason: str) -> None:
        """Let its visitors finish, and end it then."""
        self._leaving.append(session)
        self.spawn(self._leave, session, reason)

    async def end(self, reason: str) -> None:
        """End what still drains, and wait until each gateway has heard all that was said to it."""
        sessions = list(self._leaving)
        for session in sessions:
            session.session.close(reason)
        await until(lambda: all(session.session.link.is_closed for session in sessions))

    async def _serve(self, session: LinkSession) -> None:
        try:
            await session.run(self.spawn)
        finally:
            self.numbers.give_back(session.spec.gateway, session.number)

    async def _leave(self, session: LinkSession, reason: str) -> None:
        try:
            await session.leave(self._drain_limit(), reason)
            await until(lambda: session.session.link.is_closed)
        finally:
            self._leaving.remove(session)

    def _forget(self, key: Key, link: GatewayLink) -> None:
        if self._links.get(key) is link:
            del self._links[key]


async def _dial(spec: LinkSpec) -> Link:
    """Connect to the gateway and do the TLS handshake.

    :raises TidegateError: if that fails; says what to do.
    """
    # Read anew for every session, so that renewed certificates need no restart.
    context = await anyio.to_thread.run_sync(link_context, spec.tls)
    try:
        with anyio.fail_after(_CONNECT_TIMEOUT):
            link = await dial_link(
                spec.gateway.host, spec.gateway.port, context, handshake_timeout=_CONNECT_TIMEOUT
            )
    except (OSError, TimeoutError) as error:
        raise SessionLostError(explain_tls_error(error)) from error
    try:
        check_alpn(link.alpn)
    except TlsError:
        link.abort()
        raise
    return link
