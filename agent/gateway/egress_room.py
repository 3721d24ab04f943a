"""How much of the gateway may go into what it dials for its clients.

Rule: of the files that this process may have open, the connections to destinations have half at the most,
and those of one client half of that. So a client that asks for ever more takes nothing from the visitors, and
not everything from the other clients. A connection counts from the moment it is dialed: one name can have
several addresses, and to each of them a socket is on its way.

And a client whose wishes come to nothing hundreds of times in a second has to wait for the next one. Each
costs a look at the rules, perhaps a socket, and a line of the log, and to ask costs it nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from agent.process.descriptors import descriptor_limit
from schemas.names import ClientId

# Of one client, in a second: as many as it may ask for at once.
MOST_IN_VAIN: Final = 512
_SECOND: Final = 1.0


class Room:
    """The sockets that there are, by the client for which they were opened."""

    def __init__(self) -> None:
        self._used: Counter[ClientId] = Counter()
        self._all = 0

    def has_room(self, client: ClientId) -> bool:
        """Whether there may be another one for that client."""
        limit = descriptor_limit()
        return limit is None or (self._all < limit // 2 and self._used[client] < limit // 4)

    def take(self, client: ClientId) -> None:
        """There is another one."""
        self._used[client] += 1
        self._all += 1

    def give_back(self, client: ClientId) -> None:
        """There is one less."""
        self._all -= 1
        self._used[client] -= 1
        if not self._used[client]:
            del self._used[client]

    @contextmanager
    def dialing(self, client: ClientId) -> Iterator[None]:
        """A socket is on its way while the block runs."""
        self.take(client)
        try:
            yield
        finally:
            self.give_back(client)


class Pace:
    """What came to nothing within this second, of each client.

    :param clock: the time now, in seconds of any monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._in_vain: Counter[ClientId] = Counter()

    def is_too_fast(self, client: ClientId) -> bool:
        """Whether nothing more is done for that client in this second."""
        self._keep_time()
        return self._in_vain[client] >= MOST_IN_VAIN

    def failed(self, client: ClientId) -> bool:
        """Another wish came to nothing; whether it was the one with which it became too fast."""
        self._keep_time()
        self._in_vain[client] += 1
        return self._in_vain[client] == MOST_IN_VAIN

    def _keep_time(self) -> None:
        now = self._clock()
        if now - self._since >= _SECOND:
            self._since = now
            self._in_vain.clear()
