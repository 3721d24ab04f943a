"""The seam between the decision and the world.

Rule: the loop touches the world through these two methods and nothing else, and
only an implementation of them may say in which phase a resource is.
"""

from __future__ import annotations

from typing import Protocol

from schemas.errors import TidegateError

from .observed import ObservedState
from .plan import Action


class ActionError(TidegateError):
    """An action failed, for a reason that lies outside Tidegate.

    :param message: one line for a person, which says what to do next.
    :param retry: whether trying again soon can help. If not, the action is tried
        again when its specification changes, when a new generation is accepted,
        or at the slow resync.
    :param reason: one CamelCase word for machines, for example ``AddressInUse``.
    """

    def __init__(self, message: str, *, retry: bool = True, reason: str = "") -> None:
        super().__init__(message)
        self.retry = retry
        self.reason = reason


class Actuator(Protocol):
    """The hands of one role.

    It owns the phases. ``perform`` shows the key as OPENING or CLOSING before it
    first awaits, and as OPEN, FAILED or absent when it ends, also when it ends by
    an exception or by cancellation; nothing it opened may be left unobserved. OPEN
    on a key that FAILED takes what is left of it and carries on, OPEN and UPDATE on
    a key that is open already change it in place, and CLOSE on an absent key does
    nothing. What changes by itself later (a listener that dies, an opening that
    outlives ``perform``) is shown by the next ``observe``; ring the bell then.
    """

    def observe(self) -> ObservedState:
        """A snapshot of everything that runs, is in flight, or has failed. Never blocks, never raises."""
        ...

    async def perform(self, action: Action) -> None:
        """Carry out one action.

        :raises ActionError: if it could not be done; ``observe`` shows why.
        """
        ...
