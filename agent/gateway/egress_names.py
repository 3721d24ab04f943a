"""Finding the addresses of a name, without holding anybody up.

Rule: the system's resolver blocks, for half a minute where a name server does not answer. It is asked in
threads of which there are few, and of which one client has fewer: so neither the agent's own threads nor
another client's names wait for it. Nobody can stop it; who waits for its answer may leave.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final, TypeAlias

import anyio
from anyio import to_thread

from agent.process.spawn import Spawn

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
    """The names that are being looked up.

    :param spawn: starts tasks that live as long as the gateway.
    """

    def __init__(self, spawn: Spawn, look_up: LookUp = look_up) -> None:
        self._spawn = spawn
        self._look_up = look_up
        self._threads: anyio.CapacityLimiter | None = None
        self._shares: dict[str, _Share] = {}

    async def addresses(self, name: str, client: str) -> list[Address]:
        """The addresses of a name that a client asks for.

        :raises OSError: if there is none, or nobody says.
        """
        share = self._shares.setdefault(client, _Share())
        share.users += 1
        try:
            await share.turns.acquire()
        except BaseException:
            self._leave(client, share)
            raise
        answer = _Answer()
        self._spawn(self._ask, name, client, share, answer)
        await answer.is_there.wait()
        if answer.error is not None:
            raise answer.error
        return answer.addresses

    async def _ask(self, name: str, client: str, share: _Share, answer: _Answer) -> None:
        """Nobody but the gateway cancels this: a thread that was left alone would no longer be counted."""
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(AT_ONCE)
        try:
            answer.addresses = await to_thread.run_sync(
                self._look_up, name, abandon_on_cancel=True, limiter=self._threads
            )
        except (OSError, ValueError) as error:
            answer.error = error if isinstance(error, OSError) else OSError(str(error))
        finally:
            answer.is_there.set()
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


class _Answer:
    def __init__(self) -> None:
        self.is_there = anyio.Event()
        self.addresses: list[Address] = []
        self.error: OSError | None = None
