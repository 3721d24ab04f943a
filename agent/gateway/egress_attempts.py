"""Which of several addresses is dialed, and when the next one.

Rule: one after the other in the order given, but the two families in turn (RFC 8305, section 4), each as
soon as the one before has failed or has kept us waiting (section 5). Who answers first is taken, and the
others are given up.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine, Sequence
from itertools import zip_longest
from typing import Any, Final

import anyio

from transport.pump.relay import Relay

from .special_addresses import Address

NEXT_AFTER: Final = 0.25  # seconds, as RFC 8305 recommends
# More addresses of one name are not tried: whoever owns it could have a thousand dialed for one.
MOST: Final = 8

# Of several errors, that of who was nearest to an answer.
_TELLING: Final = (errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)


async def dial_first(
    addresses: Sequence[Address], dial: Callable[[Address], Coroutine[Any, Any, Relay]]
) -> Relay:
    """The first that answers.

    :param addresses: one at least.
    :raises OSError: the most telling of all errors, if nobody does.
    """
    first, *others = _in_turn(addresses)[:MOST]
    if not others:
        return await dial(first)
    answered: list[Relay] = []
    errors: list[OSError] = []

    async def attempt(address: Address, over: anyio.Event) -> None:
        try:
            relay = await dial(address)
            if answered:  # in the same turn
                relay.abort()
            answered.append(relay)
            tasks.cancel_scope.cancel()
        except OSError as error:
            errors.append(error)
        finally:
            over.set()

    async with anyio.create_task_group() as tasks:
        for address in (first, *others):
            over = anyio.Event()
            tasks.start_soon(attempt, address, over)
            with anyio.move_on_after(NEXT_AFTER):
                await over.wait()
    if answered:
        return answered[0]
    raise min(errors, key=_how_telling)


def _in_turn(addresses: Sequence[Address]) -> list[Address]:
    """So that a family to which there is no way does not keep the other one waiting for long."""
    same = [address for address in addresses if address.version == addresses[0].version]
    other = [address for address in addresses if address.version != addresses[0].version]
    pairs = zip_longest(same, other)
    return [address for pair in pairs for address in pair if address is not None]


def _how_telling(error: OSError) -> int:
    return _TELLING.index(error.errno) if error.errno in _TELLING else len(_TELLING)
