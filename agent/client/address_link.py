"""A client's session to one place, for ever.

Rule: a link that is declared is kept. Whatever ends a session, the next attempt
follows after a delay that doubles up to half a minute and is jittered over its
whole length, so that a gateway that comes back is not met by all its clients at once.

A session that is no longer to be what it is serves until there is another one in its
place, and then drains, as does one that is not to be kept at all.
"""

from __future__ import annotations

import os
import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import anyio
import structlog

from agent.actuator import Failed
from agent.events import EventKind
from agent.process.running import Running
from agent.version import SOFTWARE
from reconcile.desired import LinkSpec
from reconcile.retry import backoff
from schemas.errors import TidegateError
from schemas.messages import PROTOCOL, Hello
from schemas.messages import Services as ServicesMessage
from schemas.status import LinkPhase, LinkStatus, Renewal
from transport.session import SessionLostError, SessionRefusedError

from .dialing import dial
from .link_session import REPLACED, LinkSession, SessionState
from .places import Hold, Place
from .way_out import choose, spell

if TYPE_CHECKING:
    from .connector import GatewayLinks

# A session that lasted this long was a good one: the next attempt starts from the shortest
# delay. Two machines with one certificate would otherwise replace each other without a pause.
_GOOD_SESSION: Final = 5.0

BEFORE: Final = "still on the settings of before"

_UP: Final = (LinkPhase.CONNECTED, LinkPhase.DRAINING)  # one that drains is there

_log: Any = structlog.get_logger("links")


class AddressLink:
    """A session to one place, kept until closed."""

    def __init__(self, spec: LinkSpec, place: Place, links: GatewayLinks, failed: Failed) -> None:
        self._spec = spec
        self._place = place
        self._links = links
        self._keeping = Running(failed)
        self._news = anyio.Event()  # set when waiting any longer would be wrong
        self._hold = Hold.NONE  # as it was when the waiting began
        self._current: LinkSession | None = None
        self._attempts = 0  # since it was last connected
        self._setbacks = 0  # attempts and short sessions in a row: what the delay grows with
        self._complaint = ""  # why it was down last
        self._dialing = anyio.CancelScope()  # the attempt that is under way, or was the last one
        self._has_failed = False  # whether the settings of now have, since they are those of now
        self._phase = LinkPhase.CONNECTING
        self._set(LinkPhase.CONNECTING, "")

    @property
    def visitors(self) -> int:
        """How many visitors its session has now."""
        return 0 if self._current is None else self._current.visitors

    def start(self) -> None:
        """Connect again and again, until closed."""
        self._links.spawn(self._keeping.run, self._keep)

    def update(self, spec: LinkSpec, place: Place) -> None:
        """Use the new settings from the next session on, which is tried for now."""
        if (spec, place) != (self._spec, self._place):
            self._spec = spec
            self._place = place
            self._has_failed = False
            self._dialing.cancel()  # it would fail by the settings of before, or succeed by them
            if self._current is None and self._phase is not LinkPhase.STANDBY:
                self._set(LinkPhase.CONNECTING, self._connecting())
            elif self._current is not None and self._phase is LinkPhase.CONNECTED:
                self._set(LinkPhase.CONNECTED, self._renewing())
        self._setbacks = 0
        self._news.set()

    async def close(self) -> None:
        """Keep no session. The one that is there may drain; it is no longer this link's."""
        await self._keeping.stop()
        self._leave("the client no longer keeps this session")
        self._links.numbers.forget(self)

    def status(self) -> LinkStatus:
        # The session that is there may have come another way than the next one is to.
        spec = self._spec if self._current is None else self._current.spec
        return LinkStatus(
            gateway=str(spec.gateway),
            address=self._place.address,
            via=spell(choose(spec.way_out, spec.gateway, os.environ)),
            session=spec.session,
            phase=self._phase,
            renewal=self._renewal,
            message=self._message,
            since=self._since,
            attempts=self._attempts,
            next_attempt_at=self._next_attempt_at,
        )

    def services_changed(self) -> None:
        """Tell the gateway what is offered now."""
        if self._current is not None:
            self._current.session.tell(ServicesMessage(services=self._links.services.names))

    def look(self) -> None:
        """Something has changed at one of the places."""
        hold = self._links.places.hold(self._place)
        # Another session that has begun to ask does not shorten the delay after a failure.
        if hold is not self._hold and not (hold is Hold.ASKED and self._hold is Hold.NONE):
            self._news.set()

    async def _keep(self) -> None:
        while True:
            self._news = anyio.Event()
            self._hold = self._links.places.hold(self._place)
            failure: tuple[LinkPhase, str] | None = None
            if self._current is not None and self._current.state is SessionState.OVER:
                failure = self._lost(self._current)
            elif self._hold is Hold.SPARE:
                await self._stand_by()
            elif not self._wants_another():
                if self._phase is LinkPhase.CONNECTED and self._message:
                    self._set(LinkPhase.CONNECTED, "")  # the settings of before are wanted again
                await self._news.wait()
            elif self._hold is Hold.ASKED:
                await self._news.wait()
            else:
                failure = await self._attempt()
                if self._dialing.cancel_called:
                    failure = None  # of settings that do not count any more
            if failure is not None:
                await self._pause(*failure)

    def _wants_another(self) -> bool:
        """Whether a session is to be tried for. There is none behind one that the gateway itself will end."""
        current = self._current
        if current is None:
            return True
        is_as_wanted = (current.spec, current.place) == (self._spec, self._place)
        return current.state is SessionState.OPEN and not is_as_wanted

    @property
    def _renewal(self) -> Renewal:
        current = self._current
        if current is None or (current.spec, current.place) == (self._spec, self._place):
            return Renewal.DONE
        return Renewal.FAILED if self._has_failed else Renewal.PENDING

    def _renewing(self) -> str:
        """What there is to say of a session while another is tried for by the settings of now."""
        if self._renewal is Renewal.DONE:
            return ""
        return f"{BEFORE}; connecting with the new ones {self._through()}".rstrip()

    def _connecting(self) -> str:
        """What there is to say while a session is tried for and none serves: above all why there is none."""
        through = self._through()
        said = (f"connecting {through}" if through else "", self._complaint)
        return "; ".join(filter(None, said))

    def _through(self) -> str:
        """By what its gateway is being reached, if not straight."""
        via = spell(choose(self._spec.way_out, self._spec.gateway, os.environ))
        return f"through {via}" if via else ""

    def _lost(self, session: LinkSession) -> tuple[LinkPhase, str]:
        self._current = None
        if session.lasted >= _GOOD_SESSION:
            self._setbacks = 0
        return LinkPhase.WAITING, session.reason

    async def _stand_by(self) -> None:
        """Do without a session as long as there is one to the same gateway at another place."""
        keeper = self._links.places.kept_by(self._place)
        if self._phase is not LinkPhase.STANDBY:
            self._log.info("link_spare", used=str(keeper))
        self._attempts = self._setbacks = 0
        self._complaint = ""
        self._set(LinkPhase.STANDBY, f"the same gateway as {keeper}; dialed when that is lost")
        self._leave("the client reaches this gateway at another address")
        await self._news.wait()
        if self._links.places.hold(self._place) is Hold.SPARE:
            return
        # The gateway may have stopped, and all its clients come this way now.
        self._news = anyio.Event()
        self._set(LinkPhase.CONNECTING, "")
        with anyio.move_on_after(self._next_delay()):
            await self._news.wait()

    async def _pause(self, phase: LinkPhase, reason: str) -> None:
        """Say what is wrong, and wait for the next attempt, or for news."""
        if self._current is not None and self._current.state is SessionState.OVER:
            self._current = None  # it ended while another one was tried for
        delay = self._next_delay(was_replaced=reason == REPLACED)
        again_at = self._links.clock() + timedelta(seconds=delay)
        if self._current is None:
            # One address of several may be of no use from here for ever: that is told once.
            is_known = reason == self._complaint and self._links.places.is_reached_beside(self._place)
            log = self._log.debug if is_known else self._log.warning
            log("link_down", reason=reason, retry_in=round(delay, 1))
            self._complaint = reason
            self._set(phase, reason, again_at)
        else:
            self._log.warning("link_not_renewed", reason=reason, retry_in=round(delay, 1))
            self._has_failed = True
            message = f"{BEFORE}; with the new ones: {reason}"
            self._set(self._phase, message, again_at)
        self._links.names.ring(self._place.gateway.host)  # it may have moved
        with anyio.move_on_after(delay):
            await self._news.wait()

    def _next_delay(self, *, was_replaced: bool = False) -> float:
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
            self._set(LinkPhase.CONNECTING, self._connecting())
        session: LinkSession | None = None  # still after an attempt whose settings do not count any more
        try:
            with anyio.CancelScope() as self._dialing, self._links.places.asking(self._place):
                session = await self._greet()
        except SessionRefusedError as error:
            return LinkPhase.REFUSED, f"refused: {error}"
        except TidegateError as error:
            return LinkPhase.WAITING, str(error)
        except Exception as error:  # noqa: BLE001 - a link is kept, also by a program with a defect
            self._log.error("link_failed", exc_info=error)
            return LinkPhase.WAITING, f"a defect in Tidegate: {type(error).__name__}; please report it"
        if session is not None:
            self._take_on(session)
        return None

    async def _greet(self) -> LinkSession:
        """A new session.

        :raises TidegateError: if there is none.
        """
        spec, place, links = self._spec, self._place, self._links
        number = await links.numbers.wait(self, spec.session, place, links.places.instance(place))
        if number is None:
            raise SessionLostError(
                "as many sessions as a gateway takes are in use or draining; one of them must end first"
            )
        try:
            link = await dial(spec, place)
            session = LinkSession(spec, place, number, links.services, links.clock, self._heard)
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
            links.numbers.give_back(number, place)
            raise
        links.numbers.met(number, place, session.instance)
        links.places.up(session)
        self._log.info("link_up", name=welcome.gateway, software=welcome.software, number=number)
        if links.services.names != hello.services:
            session.session.tell(ServicesMessage(services=links.services.names))
        return session

    def _take_on(self, session: LinkSession) -> None:
        """Visitors are served by this session from now on, unless the place turns out to be a spare."""
        before, self._current = self._current, session
        self._attempts = 0
        self._complaint = ""
        self._links.serve(session)
        if self._links.places.hold(session.place) is not Hold.SPARE:
            self._set(LinkPhase.CONNECTED, "")
            self._heard(session)  # what was said in one breath with the welcome
        if before is not None:
            self._links.leave(before, "there is another one in the place of this session")

    def _leave(self, reason: str) -> None:
        """Give up the session, if there is one."""
        session, self._current = self._current, None
        if session is not None:
            self._links.leave(session, reason)

    def _heard(self, session: LinkSession) -> None:
        """The state of a session has changed."""
        if session.state is SessionState.OVER:
            self._links.places.down(session)
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

    @property
    def _log(self) -> Any:
        where = {"address": self._place.address} if self._place.address else {}
        return _log.bind(gateway=str(self._spec.gateway), **where, session=self._spec.session)

    def _set(self, phase: LinkPhase, message: str, next_attempt_at: datetime | None = None) -> None:
        self._tell(phase, message)
        self._phase = phase
        self._message = message
        self._since = self._links.clock()
        self._next_attempt_at = next_attempt_at

    def _tell(self, phase: LinkPhase, message: str) -> None:
        """Publish that there is a session now, or none any more."""
        is_up = phase in _UP
        if is_up is (self._phase in _UP):
            return
        which: dict[str, Any] = {"gateway": str(self._spec.gateway), "session": self._spec.session}
        if is_up:
            self._links.publish(EventKind.LINK_CONNECTED, **which)
        else:
            self._links.publish(EventKind.LINK_LOST, **which, reason=message)
