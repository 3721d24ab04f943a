"""A crowd of clients whose gateway starts again: how long until all are back, and what that costs.

Rule: the gateway is a process of its own, killed and started as a service manager does it. The clients are
as many sets of real links, with a certificate each, in this process; they all come from one address, as from
behind one router, which is the worst case for a gateway. Times begin when the gateway says that it runs.

    python -m tests.bench.reconnect [CLIENTS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread

from agent.client.connector import GatewayLinks
from agent.client.services import Services
from agent.events import EventKind
from agent.process.spawn import IsolatedTasks
from reconcile.desired import LinkSpec, Timing
from schemas.names import ClientId, parse_host_port
from schemas.references import FileRef
from schemas.state import TlsClient
from tests.support.journal import journal_kept
from tests.support.site import Agent, Site, site

from . import proc

CLIENTS: Final = 1_000
PATIENCE: Final = 120.0
_TIMING: Final = Timing(ping_interval=15.0, ping_timeout=10.0, half_close_timeout=300.0)
_TROUBLE: Final = ("handshakes_refused", "handshake_failed", "accept_failed", "client_refused")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one restart. Times in seconds, memory in bytes."""

    clients: int
    times: tuple[float, ...]  # at which each was back
    attempts: int  # of all together that failed, from the end of the gateway on
    trouble: tuple[tuple[str, int], ...]  # what the new gateway logged, and how often
    memory_alone: int
    memory_before: int
    memory_after: int
    memory_peak: int
    cpu: float  # seconds of the new gateway until all were back

    def __str__(self) -> str:
        each = (self.memory_after - self.memory_alone) / self.clients / 1024
        quarters = statistics.quantiles(self.times, n=4)
        said = ", ".join(f"{count} {event}" for event, count in self.trouble) or "nothing"
        return (
            f"{self.clients} clients are back {self.times[-1]:.2f} s after their gateway is: the first after "
            f"{self.times[0]:.2f} s, a quarter after {quarters[0]:.2f} s, half after {quarters[1]:.2f} s\n"
            f"attempts that failed while it was away and after: {self.attempts}; "
            f"the gateway complained of {said}\n"
            f"the gateway alone {_mib(self.memory_alone)}, with all clients {_mib(self.memory_before)}, "
            f"with all of them again {_mib(self.memory_after)}, {each:.1f} KiB each, "
            f"at most {_mib(self.memory_peak)}; {self.cpu:.2f} s of CPU"
        )


class Crowd:
    """The clients, and which of them are connected."""

    def __init__(self) -> None:
        self.up: dict[int, float] = {}  # since when
        self._changed = anyio.Event()

    def publish(self, number: int, kind: EventKind, **_: Any) -> None:
        if kind is EventKind.LINK_CONNECTED:
            self.up[number] = anyio.current_time()
        elif kind is EventKind.LINK_LOST:
            self.up.pop(number, None)
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def wait(self, is_so: Callable[[], bool]) -> None:
        with anyio.fail_after(PATIENCE):
            while not is_so():
                await self._changed.wait()


@asynccontextmanager
async def crowd(place: Site, count: int) -> AsyncIterator[Crowd]:
    """So many clients, all connected."""
    gathered = Crowd()
    async with anyio.create_task_group() as tasks:
        for number in range(count):
            links = GatewayLinks(
                Services(),
                IsolatedTasks(tasks),
                lambda: datetime.now(UTC),
                lambda: 0.0,
                partial(gathered.publish, number),
            )
            await links(_spec(place, number), lambda error: None)
        await gathered.wait(lambda: len(gathered.up) == count)
        yield gathered
        tasks.cancel_scope.cancel()


async def restart(place: Site, gateway: Agent, gathered: Crowd, count: int, alone: int) -> Outcome:
    """Kill the gateway and start it again, and wait until everybody is back."""
    before = proc.resident(gateway.process.pid)
    with journal_kept() as journal:
        await anyio.to_thread.run_sync(gateway.kill)
        again = await anyio.to_thread.run_sync(place.start, "gateway", gateway.state)
        began = anyio.current_time()
        await gathered.wait(lambda: len(gathered.up) == count and min(gathered.up.values()) >= began - 1.0)
        failed = len(journal.find("link_down")) - count  # each loses its session once
    said = Counter(line["event"] for line in again.lines if line.get("event") in _TROUBLE)
    pid = again.process.pid
    return Outcome(
        clients=count,
        times=tuple(sorted(max(0.0, since - began) for since in gathered.up.values())),
        attempts=failed,
        trouble=tuple(sorted(said.items())),
        memory_alone=alone,
        memory_before=before,
        memory_after=proc.resident(pid),
        memory_peak=proc.peak(pid),
        cpu=proc.cpu_seconds(pid),
    )


async def measure(directory: Path, count: int = CLIENTS) -> Outcome:
    """One restart under that many clients."""
    with site(directory) as place:
        for number in range(count):
            place.issue(_name(number))
        gateway = place.start("gateway", place.gateway_file([]))
        alone = proc.resident(gateway.process.pid)
        with journal_kept():
            async with crowd(place, count) as gathered:
                return await restart(place, gateway, gathered, count, alone)


def _name(number: int) -> str:
    return f"c{number}"


def _spec(place: Site, number: int) -> LinkSpec:
    own = place.pki / _name(number)
    return LinkSpec(
        gateway=parse_host_port(place.control),
        session=1,
        client_id=ClientId(_name(number)),
        tls=TlsClient(
            cert=FileRef(f"{own}.crt"), key=FileRef(f"{own}.key"), ca=FileRef(str(place.pki / "ca.crt"))
        ),
        timing=_TIMING,
    )


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def main() -> None:
    """Print what came of it."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else CLIENTS
    with tempfile.TemporaryDirectory() as directory:
        print(anyio.run(measure, Path(directory), count, backend_options={"use_uvloop": True}))


if __name__ == "__main__":
    main()
