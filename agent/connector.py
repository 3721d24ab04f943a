"""The client's links: its sessions to each gateway, for ever.

Rule: a link that is declared is kept. Whatever ends a session, the next attempt
follows after a delay that doubles up to half a minute and is jittered over its
whole length, so that a gateway that comes back is not met by all its clients at once.
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

from reconcile.desired import Key, LinkSpec, key_of
from reconcile.retry import backoff
from schemas.errors import TidegateError
from schemas.messages import PROTOCOL, Hello, Replaced
from schemas.messages import Services as ServicesMessage
from schemas.status import LinkPhase, LinkStatus
from transport.offer import Offer
from transport.pump.link import Link
from transport.pump.relay import Relay
from transport.pump.sockets import dial_link
from transport.session import LaterMessage, Session, SessionLostError, SessionRefusedError
from transport.tls import TlsError, check_alpn
from transport.tls_errors import explain_tls_error

from .actuator import Failed
from .credentials import link_context
from .lingering import Lingering
from .running import Running
from .services import Services
from .spawn import Spawn
from .version import SOFTWARE

_CONNECT_TIMEOUT: Final = 10.0
# A session that lasted this long was a good one: the next attempt starts from the shortest
# delay. Two machines with one certificate would otherwise replace each other without a pause.
_GOOD_SESSION: Final = 30.0

_REPLACED: Final = "another process connected with this client's certificate; stop one of the two"

_log: Any = structlog.get_logger("links")


class GatewayLink:
    """A session to one gateway, kept until closed.

    :param instance: tells the gateway which sessions are of this process.
    """

    is_alive = True  # a death is told

    def __init__(
        self,
        spec: LinkSpec,
        services: Services,
        instance: str,
        spawn: Spawn,
        clock: Callable[[], datetime],
        failed: Failed,
    ) -> None:
        self._spec = spec
        self._services = services
        self._instance = instance
        self._spawn = spawn
        self._clock = clock
        self._keeping = Running(failed)
        self._news = anyio.Event()  # set when waiting any longer would be wrong
        self._session: Session | None = None
        self._lingering = Lingering(spec.timing.half_close_timeout)
        self._log = _log.bind(gateway=str(spec.gateway), session=spec.session)
        self._attempts = 0  # since it was last connected
        self._setbacks = 0  # attempts and short sessions in a row: what the delay grows with
        self._was_replaced = False
        self._set(LinkPhase.CONNECTING, "")

    @property
    def is_connected(self) -> bool:
        return self._phase is LinkPhase.CONNECTED

    @property
    def visitors(self) -> int:
        """How many visitors its session has now."""
        streams = {} if self._session is None else self._session.link.mux.streams
        return sum(isinstance(stream.sink, Relay) for stream in streams.values())

    def start(self, ended: Callable[[], None]) -> None:
        """Connect again and again, until closed; then call ``ended``."""
        self._spawn(self._keeping.run, self._keep, ended)

    async def update(self, spec: LinkSpec) -> None:
        """Use the new settings from the next session on, which is now if there is none or the id changed."""
        old, self._spec = self._spec, spec
        self._setbacks = 0
        if self._session is None:
            self._news.set()
        elif old.client_id != spec.client_id:
            self._news.set()
            self._session.close("the client's id changed")

    async def close(self) -> None:
        if self._session is not None:
            self._session.close("the client no longer keeps this session")
        await self._keeping.stop()

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
        if self._session is not None:
            self._session.tell(ServicesMessage(services=self._services.names))

    async def _keep(self, ended: Callable[[], None]) -> None:
        try:
            while True:
                self._news = anyio.Event()
                self._set(LinkPhase.CONNECTING, "")
                phase, reason = await self._attempt()
                delay = self._next_delay()
                self._log.warning("link_down", reason=reason, retry_in=round(delay, 1))
                self._set(phase, reason, self._clock() + timedelta(seconds=delay))
                with anyio.move_on_after(delay):
                    await self._news.wait()
        finally:
            ended()

    def _next_delay(self) -> float:
        unit = random.random()  # noqa: S311 - jitter is no secret
        if self._was_replaced:
            # The other process loses all its sessions to the first of ours. The shortest of many delays would
            # be next to none, so each is half of its length at least.
            unit = (1 + unit) / 2
        delay = backoff(self._setbacks, unit)
        self._setbacks += 1
        return delay

    async def _attempt(self) -> tuple[LinkPhase, str]:
        """Connect, and stay as long as it lasts; what to show until the next attempt, and why."""
        started = anyio.current_time()
        self._attempts += 1
        self._was_replaced = False
        try:
            reason = await self._one_session()
        except SessionRefusedError as error:
            return LinkPhase.REFUSED, f"refused: {error}"
        except TidegateError as error:
            return LinkPhase.WAITING, str(error)
        except Exception as error:  # noqa: BLE001 - a link is kept, also by a program with a defect
            self._log.error("link_failed", exc_info=error)
            return LinkPhase.WAITING, f"a defect in Tidegate: {type(error).__name__}; please report it"
        if anyio.current_time() - started >= _GOOD_SESSION:
            self._setbacks = 0
        return LinkPhase.WAITING, reason

    async def _one_session(self) -> str:
        """Connect, and stay until the session ends; the reason why it ended.

        :raises TidegateError: if it never began.
        """
        spec = self._spec
        link = await _dial(spec)
        self._lingering = Lingering(spec.timing.half_close_timeout)
        hello = Hello(
            protocol=PROTOCOL,
            id=spec.client_id,
            software=SOFTWARE,
            services=self._services.names,
            instance=self._instance,
            session=spec.session,
        )
        session, welcome = await Session.greet(link, hello, self)
        self._session = session
        if self._spec.client_id == spec.client_id:
            self._news = anyio.Event()  # what else is new holds from the next session on
        else:
            session.close("the client's id changed")
        if self._services.names != hello.services:
            self.services_changed()
        self._attempts = 0
        self._set(LinkPhase.CONNECTED, "")
        self._log.info("link_up", name=welcome.gateway, software=welcome.software)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._lingering.run)
                reason = await session.run(
                    ping_interval=spec.timing.ping_interval, ping_timeout=spec.timing.ping_timeout
                )
                tasks.cancel_scope.cancel()
        finally:
            self._session = None
            session.close("the client is stopping")
            self._spawn(self._lingering.run_out)
        return reason

    def _set(self, phase: LinkPhase, message: str, next_attempt_at: datetime | None = None) -> None:
        self._phase = phase
        self._message = message
        self._since = self._clock()
        self._next_attempt_at = next_attempt_at

    # SessionHandler

    def message_received(self, message: LaterMessage) -> None:
        if isinstance(message, Replaced):
            self._was_replaced = True
            self._log.warning("session_replaced", reason=_REPLACED)
            if self._session is not None:
                self._session.close(_REPLACED)  # so that the status, too, says why

    def stream_offered(self, session: Session, offer: Offer) -> None:
        self._services.connect(offer, session, self._lingering)


class GatewayLinks:
    """Opens links.

    :param spawn: starts tasks that live as long as the client.
    """

    def __init__(self, services: Services, spawn: Spawn, clock: Callable[[], datetime]) -> None:
        self._services = services
        self._spawn = spawn
        self._clock = clock
        self._instance = secrets.token_hex(8)
        self._links: dict[Key, GatewayLink] = {}

    async def __call__(self, spec: LinkSpec, failed: Failed) -> GatewayLink:
        key = key_of(spec)
        link = self._links[key] = GatewayLink(
            spec, self._services, self._instance, self._spawn, self._clock, failed
        )
        link.start(ended=partial(self._forget, key, link))
        return link

    def services_changed(self) -> None:
        for link in self._links.values():
            link.services_changed()

    def status(self) -> tuple[LinkStatus, ...]:
        statuses = [link.status() for link in self._links.values()]
        return tuple(sorted(statuses, key=lambda status: (status.gateway, status.session)))

    def visits(self) -> Mapping[Key, int]:
        """How many visitors each link has now."""
        return {key: link.visitors for key, link in self._links.items()}

    @property
    def is_connected(self) -> bool:
        """Whether every link has a session."""
        return all(link.is_connected for link in self._links.values())

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
