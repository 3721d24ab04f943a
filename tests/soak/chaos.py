"""What goes wrong on purpose while visitors come and go.

Rule: each action says for which clients it excuses a broken connection, from before it begins until after
the gateway has them back; an action that says nothing of the kind must not be noticed by anybody. Sessions
that end outside of these times are faults.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import anyio
import anyio.to_thread

from .books import Books
from .doors import BOTH, DOOMED, GATEWAY, STEADY, Service
from .polling import NotSoonError
from .world import World

Action = Callable[[], Awaitable[None]]

_SPARE: Final = "spare"  # the tunnel and the service that come and go


class Chaos:
    """Does one thing after the other.

    :param longest: seconds for which the network is frozen or slow at most, and nobody may mind.
    :param deadly: whether to freeze the network until the session dies of it, which takes as long as a ping.
    :param gateway_too: whether to kill the gateway as well.
    """

    def __init__(
        self, world: World, books: Books, *, seed: int, longest: float, deadly: bool, gateway_too: bool
    ) -> None:
        self.done: Counter[str] = Counter()
        self._world = world
        self._books = books
        self._dice = random.Random(f"{seed}/chaos")
        self._longest = longest
        self._expected: list[tuple[int, int, frozenset[str]]] = []  # from and to a line of the gateway's log
        self._deck: list[str] = []
        self._spare = world.site.listen()
        self._actions: Mapping[str, Action] = {
            "cut the link": self._cut,
            "reset the link": self._reset,
            "freeze the link for a while": self._freeze,
            "slow the link down": self._slow_down,
            "kill a client": self._kill,
            "stop a client": self._stop,
            "touch the state files": self._touch,
            "add and remove a tunnel": self._edit_gateway,
            "add and remove a service": self._edit_client,
            "break the state file": self._break_file,
            **({"freeze the link for good": self._freeze_for_good} if deadly else {}),
            **({"kill the gateway": self._kill_gateway} if gateway_too else {}),
        }

    async def rehearse(self) -> None:
        """Do once what is done to state files, so that what agents keep of it is no news afterwards."""
        for action in (self._edit_gateway, self._edit_client, self._break_file):
            await action()

    async def act(self) -> None:
        """Do the next thing. Each is done as often as any other."""
        if not self._deck:
            self._deck = list(self._actions)
            self._dice.shuffle(self._deck)
        name = self._deck.pop()
        try:
            await self._actions[name]()
        except NotSoonError as error:
            self._books.fault(f"chaos, {name}: {error}")
        self.done[name] += 1

    def settle_accounts(self) -> None:
        """Make a fault of every session that has ended though nothing had been done to it."""
        for number, line in enumerate(self._world.gateway.lines):
            if line.get("event") == "client_disconnected" and not self._is_expected(number, line):
                self._books.fault(f"a session ended, and nothing had been done to it: {line}")
        self._expected.clear()

    def _is_expected(self, number: int, line: Mapping[str, Any]) -> bool:
        return any(
            start <= number < end and line.get("client") in clients for start, end, clients in self._expected
        )

    @contextmanager
    def _excused(self, *clients: str, killed: str | None = None) -> Iterator[int]:
        """While the block runs, connections of these clients may break. Yields where the gateway's log is."""
        mark = self._world.gateway.mark
        with self._books.disturbances.of(*clients, killed=killed):
            yield mark
        self._expected.append((mark, self._world.gateway.mark, frozenset(clients)))

    # The link

    async def _cut(self) -> None:
        client = self._dice.choice(BOTH)
        with self._excused(client) as mark:
            lost = self._world.networks[client].cut(self._some())
            await self._world.connected(client, after=mark, sessions=lost)

    async def _reset(self) -> None:
        client = self._dice.choice(BOTH)
        with self._excused(client) as mark:
            lost = self._world.networks[client].reset(self._some())
            await self._world.connected(client, after=mark, sessions=lost)

    def _some(self) -> int | None:
        """One connection or all, where a client has several."""
        return self._dice.choice((1, None))

    async def _freeze(self) -> None:
        network = self._world.networks[self._dice.choice(BOTH)]
        network.freeze()
        await anyio.sleep(self._dice.uniform(0, self._longest))
        network.thaw()

    async def _slow_down(self) -> None:
        network = self._world.networks[self._dice.choice(BOTH)]
        network.slow_down(self._dice.uniform(200_000, 2_000_000))
        await anyio.sleep(self._longest)
        network.speed_up()

    async def _freeze_for_good(self) -> None:
        client = self._dice.choice(BOTH)
        network = self._world.networks[client]
        with self._excused(client) as mark:
            network.freeze()
            await self._world.disconnected(client, after=mark)
            network.reset()
            network.thaw()
            await self._world.connected(client, after=mark)

    # The processes

    async def _kill(self) -> None:
        with self._excused(DOOMED, killed=DOOMED) as mark:
            await self._world.kill(DOOMED)
            await self._world.start(DOOMED)
            await self._world.connected(DOOMED, after=mark)

    async def _stop(self) -> None:
        with self._excused(DOOMED) as mark:
            status = await self._world.stop(DOOMED)
            if status != 0:
                self._books.fault(f"{DOOMED} was asked to stop and ended with status {status}")
            await self._world.start(DOOMED)
            await self._world.connected(DOOMED, after=mark)

    async def _kill_gateway(self) -> None:
        with self._books.disturbances.of(*BOTH, killed=GATEWAY):
            await self._world.kill(GATEWAY)
            self.settle_accounts()
            await self._world.start(GATEWAY)
            for client in BOTH:
                await self._world.connected(client)

    # The state files

    async def _touch(self) -> None:
        for agent in self._world.agents.values():
            os.utime(agent.state)

    async def _edit_gateway(self) -> None:
        extra = {"name": _SPARE, "listen": self._spare, "client": STEADY, "service": Service.PLAIN.value}
        await self._write(self._world.write_gateway, extra)
        await self._world.tunnel_is(_SPARE, there=True)
        await self._write(self._world.write_gateway)
        await self._world.tunnel_is(_SPARE, there=False)

    async def _edit_client(self) -> None:
        target = self._world.targets[Service.PLAIN.value]
        for client in BOTH:
            await self._write(partial(self._world.write_client, client, **{_SPARE: target}))
            await self._world.service_is(client, _SPARE, there=True)
            await self._write(self._world.write_client, client)
            await self._world.service_is(client, _SPARE, there=False)

    async def _break_file(self) -> None:
        state = anyio.Path(self._world.gateway.state)
        whole = await state.read_text()
        lines = whole.splitlines(keepends=True)
        half = self._dice.randrange(len(lines))
        # In the middle of a line: what ends with a whole one may be a valid file, and would close ports.
        await state.write_text("".join(lines[:half]) + lines[half][: len(lines[half]) // 2])
        await self._world.problems_are(there=True)
        await state.write_text(whole)
        await self._world.problems_are(there=False)

    async def _write(self, write: Callable[..., object], *arguments: object) -> None:
        await anyio.to_thread.run_sync(write, *arguments)
