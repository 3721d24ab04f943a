"""Whether services answer, of those that are to be looked after.

Rule: a service that has a health check is dialed again and again. Two failures in a row, and it is offered
no more; one success, and it is offered again. Nothing is said to it: whoever takes a connection is well.

One failure may be a service that is just restarted, and visitors who come meanwhile are led to other clients
anyway. What is not dialed here is offered whatever becomes of it.
"""

from __future__ import annotations

from typing import Final, Protocol

import anyio

from agent.process.spawn import Spawn
from schemas.names import ServiceEntry, ServiceName, Target
from schemas.status import ServiceHealth
from transport.pump.relay import Relay, RelayEnd

from .target import DIAL_TIMEOUT, dial_target

_FAILURES: Final = 2  # in a row


class HealthOwner(Protocol):
    """Who is told how a service does."""

    def answers(self, name: ServiceName) -> None:
        """It is offered again."""

    def fails(self, name: ServiceName) -> None:
        """It is offered no more."""

    def tried(self, name: ServiceName, timeout: float, error: OSError | None) -> None:
        """What came of one dial. Told before either of the others.

        :param timeout: seconds that it was given.
        """


class HealthCheck:
    """The looking after one service, which is taken to answer until it is seen not to.

    :param interval: seconds between two dials, and the longest that one may take.
    """

    def __init__(self, name: ServiceName, target: Target, interval: float, owner: HealthOwner) -> None:
        self.is_fine = True
        self._name = name
        self._target = target
        self._interval = interval
        self._patience = min(interval, DIAL_TIMEOUT)
        self._owner = owner
        self._failures = 0
        self._scope = anyio.CancelScope()

    async def run(self) -> None:
        """Dial until stopped."""
        with self._scope:
            while True:
                began = anyio.current_time()
                error = await self._dial()
                if self._scope.cancel_called:
                    return  # in the turn in which the answer came: nobody asks any more
                self._owner.tried(self._name, self._patience, error)
                self._note(error)
                await anyio.sleep_until(began + self._interval)

    def stop(self) -> None:
        """Dial no more. What was seen is forgotten with this check."""
        self._scope.cancel()

    async def _dial(self) -> OSError | None:
        """Why nobody answered, if so."""
        try:
            with anyio.fail_after(self._patience):
                relay = await dial_target(self._target, _CALLER)
        except OSError as error:
            return error
        relay.refuse(b"")
        return None

    def _note(self, error: OSError | None) -> None:
        self._failures = 0 if error is None else self._failures + 1
        if self.is_fine and self._failures >= _FAILURES:
            self.is_fine = False
            self._owner.fails(self._name)
        elif not self.is_fine and error is None:
            self.is_fine = True
            self._owner.answers(self._name)


class HealthChecks:
    """Every service of a client that is looked after."""

    def __init__(self, spawn: Spawn, owner: HealthOwner) -> None:
        self._spawn = spawn
        self._owner = owner
        self._checks: dict[tuple[ServiceName, ServiceEntry], HealthCheck] = {}

    def update(self, entries: dict[ServiceName, ServiceEntry]) -> None:
        """Look after these from now on. One that is the same as before is known as before."""
        wanted = {item: item[1].health_check for item in entries.items()}
        for gone in self._checks.keys() - wanted.keys():
            self._checks.pop(gone).stop()
        for (name, entry), interval in wanted.items():
            if interval is not None and (name, entry) not in self._checks:
                check = self._checks[name, entry] = HealthCheck(name, entry.target, interval, self._owner)
                self._spawn(check.run)

    def of(self, name: ServiceName, entry: ServiceEntry) -> ServiceHealth:
        """How the service does."""
        check = self._checks.get((name, entry))
        if check is None:
            return ServiceHealth.UNCHECKED
        return ServiceHealth.ANSWERS if check.is_fine else ServiceHealth.FAILS


class _Caller:
    """The owner of a relay that is closed as soon as it is connected."""

    def connected(self, relay: Relay) -> None:
        """That is all that was to be seen."""

    def peeked(self, relay: Relay) -> None:
        """Nothing is read."""

    def timed_out(self, relay: Relay) -> None:
        """No deadline is set."""

    def acknowledged(self, relay: Relay) -> None:
        """There is no stream."""

    def refused(self, relay: Relay) -> None:
        """There is no stream."""

    def half_closed(self, relay: Relay) -> None:
        """There is no stream."""

    def ended(self, relay: Relay, end: RelayEnd) -> None:
        """Nothing is kept of it."""


_CALLER: Final = _Caller()
