"""The numbers of a client's sessions, which tell them apart at a gateway.

Rule: no two sessions of this process have the same number at one gateway while both live, or the gateway
would end the older one. Two places may lead to one gateway: a session whose gateway has not said yet who it
is has a number that no other one has, wherever that is, as long as there are enough for all places.

A session that comes back takes the number it had, so that a gateway which has not noticed the end of the old
one does. So what others had is left to them as long as there is something else.
"""

from __future__ import annotations

from typing import Final

import anyio

from schemas.messages import MAX_SESSION_NUMBER

from .places import Place

# Numbers that a session with a known gateway leaves to those that have to ask, while there are others that it
# may share with sessions at other gateways.
_LEFT_TO_ASK: Final = 8
_PATIENCE: Final = 10.0  # seconds: as long as a gateway may take to say who it is


class SessionNumbers:
    """Which numbers are in use, by whom."""

    def __init__(self) -> None:
        # Of each number: where it is in use, and at which instance of a gateway, None if that is not known.
        self._used: dict[int, dict[Place, str | None]] = {}
        self._last: dict[object, int] = {}  # which one a keeper had
        self._changed = anyio.Event()  # replaced whenever there may be a number that there was not

    async def wait(self, keeper: object, wished: int, place: Place, instance: str | None) -> int | None:
        """As :meth:`take`. While more places are asked than there are numbers, some wait for others."""
        with anyio.move_on_after(_PATIENCE):
            while (number := self.take(keeper, wished, place, instance)) is None:
                await self._changed.wait()
            return number
        return None

    def take(self, keeper: object, wished: int, place: Place, instance: str | None) -> int | None:
        """A number for a keeper's next session: the one it had, or the one it wishes, or the lowest.

        :param instance: who is at the place, None if that is not known.
        :returns: None if there is none at the moment.
        """
        number = self._choose(keeper, wished, place, instance)
        if number is not None:
            self._last[keeper] = number
            self._used.setdefault(number, {})[place] = instance
        return number

    def met(self, number: int, place: Place, instance: str) -> None:
        """The gateway has said who it is."""
        self._used[number][place] = instance
        self._notify()

    def give_back(self, number: int, place: Place) -> None:
        """The session with that number is over."""
        users = self._used[number]
        del users[place]
        if not users:
            del self._used[number]
        self._notify()

    def forget(self, keeper: object) -> None:
        """It will have no other session."""
        self._last.pop(keeper, None)

    def _notify(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    def _choose(self, keeper: object, wished: int, place: Place, instance: str | None) -> int | None:
        last = self._last.get(keeper)
        everything = range(1, MAX_SESSION_NUMBER + 1)
        allowed = [number for number in everything if self._may(number, place, instance)]
        if last in allowed:
            return last
        of_others = {number for other, number in self._last.items() if other is not keeper}
        unused = [number for number in allowed if number not in self._used and number not in of_others]
        if wished in unused:
            return wished
        if unused and (instance is None or len(unused) > _LEFT_TO_ASK):
            return unused[0]
        if allowed:
            return allowed[0]
        return None if instance is not None else self._last_resort(last, place)

    def _last_resort(self, last: int | None, place: Place) -> int | None:
        """With more places than numbers: one that a gateway has which is known, and most likely another one.

        Should it be the same, that ends its older session, and the two places know of each other then.
        """
        shared = [
            number
            for number, users in self._used.items()
            if place not in users and None not in users.values()
        ]
        if last in shared:
            return last
        return min(shared, key=lambda number: (len(self._used[number]), number), default=None)

    def _may(self, number: int, place: Place, instance: str | None) -> bool:
        """Whether no session that has it can be at the same gateway."""
        return all(
            used_at != place and None not in (instance, other) and instance != other
            for used_at, other in self._used.get(number, {}).items()
        )
