"""The addresses that a gateway's name stands for, looked up again and again.

Rule: what a name stands for is asked here. An answer takes the place of the last one; a question that gets
no answer changes nothing: a name that does not resolve any more keeps what it had. How long an answer is
good for, the system does not tell, so it is asked for again every half a minute, and whenever a session
could not be made.

A large name shows some of its addresses at a time, others in each answer. So one that is in use is kept for
some minutes after it was in an answer: sessions that work are not to come and go with the answers.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeAlias

import anyio
import structlog

from agent.process.own_thread import in_own_thread
from reconcile.retry import backoff

LookUp: TypeAlias = Callable[[str], Awaitable[tuple[str, ...]]]
# Whether there is a session to an address of a name, or it is a spare of one that has.
IsInUse: TypeAlias = Callable[[str, str], bool]

_INTERVAL: Final = 30.0  # seconds, a quarter more or less
_SHORTEST: Final = 1.0  # seconds between two questions, whoever has a reason to ask
_GRACE: Final = 300.0  # seconds, or ten answers, in which an address in use was in none before it is gone
_TIMEOUT: Final = 15.0  # a name server that is down costs the system's resolver 5 s a try

_log: Any = structlog.get_logger("names")


async def look_up(host: str) -> tuple[str, ...]:
    """The addresses of a name, the best one first (RFC 6724).

    :raises OSError: if there are none, or nobody answers.
    """
    # A name server that is down costs half a minute, which the end of a client is not to wait for.
    return await in_own_thread(partial(_ask, host))


def _ask(host: str) -> tuple[str, ...]:
    name = host.encode("ascii")  # a text would be encoded by IDNA first, which is slow to load
    try:
        # Without addresses of a family that this machine has no other address of.
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except socket.gaierror as error:
        if error.errno in (socket.EAI_AGAIN, socket.EAI_FAIL):
            raise
        # One that has nothing but its loopback is told that there are none at all.
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(_address(sockaddr) for *_, sockaddr in found))


def _address(sockaddr: tuple[Any, ...]) -> str:
    """With its interface, if it is valid on one link only and the answer names that."""
    address: str = sockaddr[0]
    scope = sockaddr[3] if len(sockaddr) > 3 else 0
    return f"{address}%{scope}" if scope and "%" not in address else address


def _never(host: str, address: str) -> bool:
    return False


class HostAddresses:
    """What one name stands for, as long as :meth:`follow` runs.

    :param changed: called when there are other addresses than before, or something else to tell.
    """

    def __init__(
        self,
        host: str,
        changed: Callable[[], None],
        clock: Callable[[], datetime],
        look_up: LookUp = look_up,
        is_in_use: IsInUse = _never,
    ) -> None:
        self.host = host
        self.addresses: tuple[str, ...] = ()  # one that was there before keeps its place
        self.trouble = ""  # why there are none
        self.attempts = 0  # since there were any
        self.since = clock()
        self.next_attempt_at: datetime | None = None
        self._changed = changed
        self._clock = clock
        self._look_up = look_up
        self._is_in_use = is_in_use
        self._answered: dict[str, float] = {}  # when each was in an answer last, or nobody answered
        self._missing: frozenset[str] = frozenset()  # the last answer was without them
        self._is_doubtful = False  # one of those may have been left out by mistake
        self._rung = anyio.Event()

    def ring(self) -> None:
        """Look soon: a session to one of the addresses could not be made."""
        self._rung.set()

    async def follow(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self._rung = anyio.Event()
            await self._look()
            pause = self._pause()
            await anyio.sleep(_SHORTEST)
            with anyio.move_on_after(pause):
                await self._rung.wait()

    async def _look(self) -> None:
        try:
            with anyio.fail_after(_TIMEOUT):
                found = await self._look_up(self.host)
        except Exception as error:  # noqa: BLE001 - a name is followed, also by a program with a defect
            self._failed(error)
            return
        now = anyio.current_time()
        self._answered.update(dict.fromkeys(found, now))
        missing = frozenset(self.addresses) - frozenset(found)
        leaving = {address for address in missing if not self._is_kept(address, now)}
        # One may be missing only because one of two questions (A, AAAA) got no answer. If it is not named in
        # the next answer either, it is gone.
        gone = leaving & self._missing
        self._missing = missing - gone
        self._is_doubtful = leaving != gone
        for address in gone:
            del self._answered[address]
        kept = [address for address in self.addresses if address not in gone]
        self._resolved((*kept, *(address for address in found if address not in self.addresses)))

    def _is_kept(self, address: str, now: float) -> bool:
        return self._is_in_use(self.host, address) and now - self._answered[address] < _GRACE

    def _resolved(self, addresses: tuple[str, ...]) -> None:
        self.attempts = 0
        self.next_attempt_at = None
        if addresses == self.addresses and not self.trouble:
            return
        if addresses != self.addresses:
            _log.info("name_resolved", host=self.host, addresses=list(addresses))
        self.addresses = addresses
        self.trouble = ""
        self._changed()

    def _failed(self, error: Exception) -> None:
        reason = _explain(self.host, error)
        if reason != self.trouble or not self.addresses:
            _log.warning("name_not_resolved", host=self.host, reason=reason, kept=len(self.addresses))
        self.attempts += 1
        self._missing = frozenset()
        self._is_doubtful = False  # or it would be asked for every second, as long as nobody answers
        self._answered = dict.fromkeys(self.addresses, anyio.current_time())
        self.trouble = reason
        self.since = self._clock()
        self._changed()

    def _pause(self) -> float:
        """Seconds until the next question, in which somebody may ring."""
        unit = random.random()  # noqa: S311 - jitter is no secret
        if self._is_doubtful:
            return 0.0
        if self.addresses:
            return _INTERVAL * (0.75 + unit / 2)
        pause = backoff(self.attempts - 1, unit)
        self.next_attempt_at = self._clock() + timedelta(seconds=_SHORTEST + pause)
        return pause


def _explain(host: str, error: Exception) -> str:
    match error:
        case TimeoutError():
            return f"the name {host} was not resolved in time: check this machine's name server"
        case socket.gaierror() if error.errno in (socket.EAI_AGAIN, socket.EAI_FAIL):
            return f"the name {host} cannot be resolved now: check this machine's name server"
        case socket.gaierror() | UnicodeError():
            return f"the name {host} does not exist: correct it in client.gateways, or add it to the DNS"
        case OSError():
            return f"the name {host} cannot be resolved: {error.strerror or error}"
        case _:
            return f"a defect in Tidegate: {type(error).__name__}; please report it"
