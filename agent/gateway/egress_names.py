"""Finding the addresses of a name, without holding anybody up.

Rule: the system's resolver blocks, for half a minute where a name server does not answer. It is asked in
threads of which there are few, and of which one client has fewer: so neither the agent's own threads nor
another client's names wait for it. Nobody can stop it: who waits for its answer may leave, and a thread that
is left alone still counts as one of the few.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Final, TypeAlias

import anyio

from .special_addresses import Address

# Gives the addresses of a name, the best one first. Blocks.
# :raises OSError: if there is none, or nobody says.
LookUp: TypeAlias = Callable[[str], list[Address]]

AT_ONCE: Final = 32  # names of all clients
OF_ONE_CLIENT: Final = 8


def look_up(name: str) -> list[Address]:
    """Ask the system, which looks into /etc/hosts and asks name servers as it is set up to.

    :raises OSError: if there is no address, or nobody says.
    """
    # As bytes: a text would be encoded by IDNA first, which is slow to load and may change it.
    found = socket.getaddrinfo(name.encode("ascii"), None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(str(place[0])) for *_, place in found))


class Names:
    """The names that are being looked up."""

    def __init__(self, look_up: LookUp = look_up) -> None:
        self._look_up = look_up
        self._threads = anyio.Semaphore(AT_ONCE)
        self._shares: dict[str, _Share] = {}

    async def addresses(self, name: str, client: str) -> list[Address]:
        """The addresses of a name that a client asks for.

        :raises OSError: if there is none, or nobody says.
        """
        from agent.process.own_thread import in_own_thread  # most gateways look nothing up

        share = self._shares.setdefault(client, _Share())
        share.users += 1
        try:
            await share.turns.acquire()
            try:
                await self._threads.acquire()
            except BaseException:
                share.turns.release()
                raise
        except BaseException:
            self._leave(client, share)
            raise
        try:
            return await in_own_thread(partial(self._look_up, name), partial(self._over, client, share))
        except OSError:
            raise
        except Exception as error:  # whoever waits is told, and nobody else is disturbed
            raise OSError(f"{type(error).__name__}: {error}") from error

    def _over(self, client: str, share: _Share) -> None:
        self._threads.release()
        share.turns.release()
        self._leave(client, share)

    def _leave(self, client: str, share: _Share) -> None:
        share.users -= 1
        if not share.users:
            del self._shares[client]


class _Share:
    """What one client may have looked up at once."""

    def __init__(self) -> None:
        self.turns = anyio.Semaphore(OF_ONE_CLIENT)
        self.users = 0
