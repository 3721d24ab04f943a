"""A path of 100 ms between the gateway and the client, and what one download gets out of it.

Rule: the same relay, with the same delay, rate and queue, once under plain TCP between iperf3's two ends, and
once under the session between client and gateway. What the tunnel gets is a share of what plain TCP gets.
Both are measured after their first seconds: plain TCP need not begin slowly here, since its own way to the
relay is short, while the tunnel's window grows over the path.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Final

from tests.support.site import Site

from . import delaying_relay
from .figures import PLAIN, TIDEGATE, Bound, Quantity, Target, Unit
from .iperf import Way
from .loads import Load, Outcome, iperf, when_free
from .processes import Process, running, wait_listening
from .services import BULK
from .systems import Running, Services, System, tidegate

FAMILY: Final = "long-path"
ONE_WAY: Final = 0.05  # seconds
RATE: Final = 400e6  # bits a second: 5 MB are under way at once, twenty times a window of 256 KiB
QUEUE: Final = int(RATE / 8 * ONE_WAY)  # half of what is under way, as routers are often dimensioned
BEGINNING: Final = 2  # seconds that do not count, while windows grow to what the path holds
MIN_SECONDS: Final = 3.0


def _relay(place: Site, listen: str, target: str) -> AbstractContextManager[Process]:
    numbers = ("--delay", f"{ONE_WAY}", "--rate", f"{RATE}", "--queue", f"{QUEUE}")
    command = [sys.executable, delaying_relay.__file__, listen, target, *numbers]
    return running("relay", command, place.directory)


@contextmanager
def _plain(place: Site, services: Services) -> Iterator[Running]:
    """Visitors reach iperf3 through the relay and nothing else."""
    listen = place.listen()
    with _relay(place, listen, services[BULK]) as relay:
        wait_listening(listen, relay)
        yield Running(public={**services, BULK: listen}, processes={})


@contextmanager
def _through_tidegate(place: Site, services: Services) -> Iterator[Running]:
    listen = place.listen()
    with _relay(place, listen, place.control) as relay:
        wait_listening(listen, relay)
        with tidegate(place, services, gateway=listen) as now:
            yield now


SYSTEMS: Final = (
    System(name=PLAIN, secured="no tunnel", start=_plain),
    System(name=TIDEGATE, secured="mutual TLS 1.3", start=_through_tidegate),
)


def _long(now: Running, seconds: float, *, way: Way) -> Outcome:
    """What flows once it flows; how it began is in the details."""
    result = when_free(lambda: iperf(now, max(seconds, MIN_SECONDS), way, uncounted=BEGINNING))
    begun = {} if result.beginning is None else {f"first_{BEGINNING}_s_mbit": result.beginning / 1e6}
    return Outcome(value=result.bits_per_second / 1e6, done=result.received, details=begun)


LOADS: Final = tuple(
    Load(
        family=FAMILY,
        quantity=Quantity(
            key=f"long-path-{way.value}",
            title=f"path of {ONE_WAY * 2e3:.0f} ms and {RATE / 1e6:.0f} Mbit/s: one {way.value}",
            unit=Unit.MEGABITS,
            reference=PLAIN,
            target=Target(bound=Bound.AT_LEAST, limit=0.8, reference=PLAIN),
        ),
        run=partial(_long, way=way),
    )
    for way in (Way.DOWNLOAD, Way.UPLOAD)
)
