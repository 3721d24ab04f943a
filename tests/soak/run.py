"""One run of the soak, from the first process to the verdict.

Rule: this file puts the parts in order: start, warm up, count what is there, load and chaos, settle, count
again. What may not be afterwards is in the report, which is made of facts and not of exceptions.
"""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from tests.support.site import own_address

from .books import Books, Meeting
from .census import Census, descriptors, excess, memory
from .chaos import Chaos
from .doors import BOTH, GATEWAY, STEADY
from .flatness import drift
from .polling import NotSoonError, until
from .report import Report, Series
from .script import Measures
from .services import Services
from .trust import service_context, visitor_context
from .visitors import Crowd, Visits
from .world import AGENTS, World, world

_SETTLING: Final = 60.0  # seconds until everything of the past must be gone; the longest of it takes ten
_PORTRAITS: Final = 2  # how often the agents are asked in full why something hangs
_TOLD_EVERY: Final = 10  # seconds
_WATCHED: Final = (GATEWAY, STEADY)  # whose memory must stay flat: those that live from the first to the last
_SHOWN_CLASSES: Final = (
    "transport.pump.relay.Relay",
    "transport.wire.mux.MuxStream",
    "transport.offer.Offer",
    "transport.pump.link.Link",
    "transport.session.Session",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a run is like.

    :param seconds: how long visitors come; None to count conversations instead.
    :param conversations: how many, if that is not decided by the time.
    :param warm_up: how many come before anything is counted, or more: now and then one is a crowd.
    :param rate: visitors a second, on average; None for as fast as there is room.
    :param visitors: how many there may be at once.
    :param chaos_every: something goes wrong after so many visitors.
    :param limit: seconds after which a conversation hangs.
    :param longest_freeze: seconds for which a link is frozen or slow at most.
    :param deadly: whether a link may be frozen until its session dies of it.
    :param settings: of every agent, as in its state file.
    """

    seed: int
    seconds: float | None
    conversations: int
    warm_up: int
    rate: float | None
    visitors: int
    chaos_every: int
    measures: Measures
    limit: float
    sessions: int
    stock_loop: bool
    longest_freeze: float
    deadly: bool
    kill_gateway: bool
    settings: dict[str, str]


class Run:
    """One run.

    :param tell: what to do with a line for whoever watches.
    """

    def __init__(self, options: Options, tell: Callable[[str], None]) -> None:
        self._options = options
        self._tell = tell
        self._books = Books()
        self._series = {name: Series() for name in AGENTS}
        self._most_at_once = 0
        self._portraits = 0
        self._world: World
        self._visits: Visits
        self._crowd: Crowd
        self._chaos: Chaos

    async def perform(self, directory: Path) -> Report:
        """Everything, in a directory of its own."""
        options = self._options
        services = Services(
            self._books,
            service_context(directory),
            seed=options.seed,
            limit=options.limit,
            alarm=self._alarm,
        )
        address = own_address()
        began = time.monotonic()
        with (
            services.open(address, directory),
            world(
                directory,
                address,
                services.targets,
                sessions=options.sessions,
                stock_loop=options.stock_loop,
                settings=options.settings,
            ) as self._world,
        ):
            self._visits = Visits(self._books, visitor_context(), limit=options.limit, alarm=self._alarm)
            self._crowd = Crowd(self._world.doors, options.measures, seed=options.seed)
            self._chaos = Chaos(
                self._world,
                self._books,
                seed=options.seed,
                longest=options.longest_freeze,
                deadly=options.deadly,
                gateway_too=options.kill_gateway,
            )
            held: dict[str, dict[str, tuple[int, int]]] = {}
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(services.run)
                try:
                    held = await self._measure()
                except NotSoonError as error:
                    self._books.fault(str(error))
                tasks.cancel_scope.cancel()
            await self._stop()
        return self._report(held, time.monotonic() - began)

    async def _measure(self) -> dict[str, dict[str, tuple[int, int]]]:
        """Start, warm up, count, load, settle, count again; the two counts.

        :raises NotSoonError: if an agent does not answer.
        """
        self._tell("starting")
        await self._start()
        idle = await self._idle_descriptors()
        self._tell("warming up")
        await self._visit_all(
            [meeting for _ in range(self._options.warm_up) for meeting in self._crowd.next_group()]
        )
        await self._chaos.rehearse()
        before = await self._settle(idle, None)
        self._tell("under load")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._sample)
            await self._load()
            tasks.cancel_scope.cancel()
        self._tell("settling")
        await self._visit_all([self._crowd.probe(door) for door in self._world.doors if door.service.serves])
        after = await self._settle(idle, before)
        self._books.close()
        self._chaos.settle_accounts()
        self._find_leaks(before, after)
        return {name: _counts(before[name], after[name]) for name in AGENTS}

    async def _start(self) -> None:
        self._world.write_gateway()
        await self._world.start(GATEWAY)
        for client in BOTH:
            self._world.write_client(client)
            await self._world.start(client)
            await self._world.connected(client)

    async def _visit_all(self, meetings: list[Meeting]) -> None:
        room = anyio.Semaphore(self._options.visitors)
        async with anyio.create_task_group() as tasks:
            for meeting in meetings:
                await room.acquire()
                tasks.start_soon(self._visit, meeting, room)

    async def _visit(self, meeting: Meeting, room: anyio.Semaphore) -> None:
        try:
            await self._visits.pay(meeting)
        finally:
            room.release()

    # The load

    async def _load(self) -> None:
        """Let visitors come until it is time, and wait until the last one has left."""
        options = self._options
        dice = random.Random(f"{options.seed}/load")
        room = anyio.Semaphore(options.visitors)
        deadline = None if options.seconds is None else time.monotonic() + options.seconds
        bell, rung = anyio.create_memory_object_stream[None](0)
        came = 0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._make_chaos, rung)
            async with bell:
                while (came < options.conversations) if deadline is None else (time.monotonic() < deadline):
                    for meeting in self._crowd.next_group():
                        await room.acquire()
                        tasks.start_soon(self._visit, meeting, room)
                        came += 1
                        if came % options.chaos_every == 0:
                            await _ring(bell, patiently=deadline is None)
                    if options.rate is not None:
                        await anyio.sleep(dice.expovariate(options.rate))

    async def _make_chaos(self, rung: MemoryObjectReceiveStream[None]) -> None:
        async with rung:
            async for _ in rung:
                await self._chaos.act()

    async def _sample(self) -> None:
        """Look at memory and descriptors every second, until cancelled."""
        began = time.monotonic()
        for second in itertools.count(1):
            for name, agent in self._world.agents.items():
                self._series[name].memory.append(memory(agent.process.pid))
                self._series[name].descriptors.append(descriptors(agent.process.pid).total())
            self._most_at_once = max(self._most_at_once, self._books.visiting)
            if second % _TOLD_EVERY == 0:
                self._tell(self._progress(second))
            await anyio.sleep(max(0.0, began + second - time.monotonic()))

    def _progress(self, second: int) -> str:
        megabytes = ", ".join(
            f"{name} {series.memory[-1] >> 20} MiB" for name, series in self._series.items() if series.memory
        )
        books = self._books
        return (
            f"{second:4} s: {books.total:,} conversations, {books.visiting} under way, {megabytes}, "
            f"{self._chaos.done.total()} things went wrong on purpose, {len(books.faults)} faults"
        )

    # Before and afterwards

    async def _idle_descriptors(self) -> dict[str, Counter[str]]:
        """What agents hold that have never had a visitor."""
        found: list[dict[str, Counter[str]]] = []

        async def is_the_same_twice() -> bool:
            await self._world.open_connections()
            found.append({name: descriptors(agent.process.pid) for name, agent in self._world.agents.items()})
            return len(found) > 1 and found[-1] == found[-2]

        await until(is_the_same_twice, "the agents have started", patience=_SETTLING)
        return found[-1]

    async def _settle(
        self, idle: Mapping[str, Counter[str]], before: Mapping[str, Census] | None
    ) -> dict[str, Census]:
        """Wait until there is no more than there was; what there is at the end, however it looks."""
        found: dict[str, Census] = {}

        async def is_settled() -> bool:
            if any((await self._world.open_connections()).values()):
                return False
            for name, agent in self._world.agents.items():
                if descriptors(agent.process.pid) - idle[name]:
                    return False
            for name in AGENTS:
                found[name] = await self._world.census(name)
            return before is None or not any(excess(before[name], found[name]) for name in AGENTS)

        try:
            await until(is_settled, "everything is as before the first visitor", patience=_SETTLING)
        except NotSoonError as error:
            connections = await self._world.open_connections()
            self._books.fault(f"{error}; open connections by agent: {connections}")
            await self._alarm()
            for name in AGENTS:
                found[name] = await self._world.census(name)
        return found

    def _find_leaks(self, before: Mapping[str, Census], after: Mapping[str, Census]) -> None:
        for name in AGENTS:
            for what, (old, new) in excess(before[name], after[name]).items():
                self._books.fault(f"{name} had {old} of {what} before the load and has {new} afterwards")
        for name in _WATCHED:
            found = drift(self._series[name].memory) if self._options.seconds is not None else None
            if found is not None and not found.is_flat:
                grown = f"from {found.early / 2**20:.1f} to {found.late / 2**20:.1f} MiB"
                self._books.fault(f"the memory of {name} is not flat: {grown}")

    async def _stop(self) -> None:
        """Ask every agent to stop, and read what it has written."""
        for name, agent in self._world.agents.items():
            ended = agent.process.poll()
            status = await self._world.stop(name) if ended is None else ended
            if status != 0:
                self._books.fault(f"{name} ended with status {status}")
        for complaint in self._world.complaints():
            self._books.fault(complaint)

    async def _alarm(self) -> None:
        """Something hangs: show what the agents look like inside."""
        if self._portraits < _PORTRAITS:
            self._portraits += 1
            for name in self._world.agents:
                self._tell(await self._world.portrait(name))

    def _report(self, held: dict[str, dict[str, tuple[int, int]]], seconds: float) -> Report:
        books = self._books
        lost = sum(
            line.get("event") == "client_disconnected"
            for name, agent in (*self._world.gone, *self._world.agents.items())
            if name == GATEWAY
            for line in agent.lines
        )
        return Report(
            options=asdict(self._options),
            seconds=seconds,
            outcomes=books.outcomes,
            heard_by_visitors=books.heard_by_visitors,
            heard_by_services=books.heard_by_services,
            strays=books.strays,
            most_at_once=self._most_at_once,
            chaos=self._chaos.done,
            sessions_lost=lost,
            series=self._series,
            watched=_WATCHED,
            held=held,
            faults=books.faults,
        )


async def _ring(bell: MemoryObjectSendStream[None], *, patiently: bool) -> None:
    """Let the next thing go wrong: once the last one is over, or else not at all."""
    if patiently:
        await bell.send(None)
        return
    with suppress(anyio.WouldBlock):
        bell.send_nowait(None)


def _counts(before: Census, after: Census) -> dict[str, tuple[int, int]]:
    """What a report shows of two counts."""
    return {
        "descriptors": (sum(before.descriptors.values()), sum(after.descriptors.values())),
        "tasks": (sum(before.tasks.values()), sum(after.tasks.values())),
        "objects": (before.total, after.total),
        **{
            name.rpartition(".")[2]: (before.objects.get(name, 0), after.objects.get(name, 0))
            for name in _SHOWN_CLASSES
        },
    }
