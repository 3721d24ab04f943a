"""The loads that every system gets in every round.

Rule: one function a load, from a running system to what was measured; which figure that is, its unit and its
target stand beside it. The load generators run as processes of their own and print what they counted.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from . import paced
from .figures import Bound, Quantity, Target, Unit, Work
from .iperf import IperfBusyError, IperfResult, Way, iperf_command, parse_iperf
from .processes import PATIENCE, output_of
from .services import BULK
from .systems import WEB, Running, path_of
from .wrk import WrkResult, parse_wrk, wrk_command

PACED_RATE: Final = 500  # requests a second beside iperf3: far from what any of the systems could do
PACED_CONNECTIONS: Final = 16
_HEAD_START: Final = (
    0.5  # seconds that iperf3 runs before the small requests begin, and goes on after they end
)

T = TypeVar("T")


class LoadError(Exception):
    """A load that gave no measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one load gave: see :class:`~tests.bench.figures.Sample`."""

    value: float
    done: float = 0.0
    details: Mapping[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """:param family: what ``--only`` calls it."""

    family: str
    quantity: Quantity
    run: Callable[[Running, float], Outcome]


def _wrk(
    now: Running, seconds: float, *, connections: int, keep_alive: bool, value: Callable[[WrkResult], float]
) -> Outcome:
    command = wrk_command(
        path_of("wrk"), now.page, connections=connections, seconds=seconds, keep_alive=keep_alive
    )
    result = parse_wrk(output_of(command, seconds=seconds))
    return Outcome(
        value=value(result),
        done=result.requests,
        details={
            "rate": result.rate,
            "latency_ms_mean": result.average,
            **{f"latency_ms_p{percent}": latency for percent, latency in result.percentiles.items()},
        },
        remarks=tuple(f"{count} {kind} errors" for kind, count in result.socket_errors.items()),
    )


def bulk(now: Running, seconds: float, *, way: Way) -> Outcome:
    """One stream of iperf3, from its first byte."""
    result = when_free(lambda: iperf(now, seconds, way))
    return Outcome(value=result.bits_per_second / 1e9, done=result.received)


def iperf(now: Running, seconds: float, way: Way, *, uncounted: int = 0) -> IperfResult:
    """Run it once. See :func:`~tests.bench.iperf.iperf_command`."""
    address = now.public[BULK]
    command = iperf_command(path_of("iperf3"), address, way, seconds=seconds, uncounted=uncounted)
    return parse_iperf(output_of(command, seconds=seconds + uncounted))


def when_free(measure: Callable[[], T]) -> T:
    """Measure again as long as the server of iperf3 has not done with the measurement before."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return measure()
        except IperfBusyError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def _paced_beside_bulk(now: Running, seconds: float, *, way: Way) -> Outcome:
    """Requests at a fixed rate while iperf3 runs; the value is their p99, see ``paced``."""
    return when_free(lambda: _paced_beside_one(now, seconds, way))


def _paced_beside_one(now: Running, seconds: float, way: Way) -> Outcome:
    command = (
        *(sys.executable, paced.__file__, now.public[WEB]),
        *("--rate", f"{PACED_RATE}", "--connections", f"{PACED_CONNECTIONS}"),
        *("--seconds", f"{seconds}", "--after", f"{_HEAD_START}"),
    )
    with ThreadPoolExecutor(1) as beside:
        moving = beside.submit(iperf, now, seconds + 2 * _HEAD_START, way)
        printed = output_of(command, seconds=seconds)
        bits = moving.result().bits_per_second
    try:
        counted: Any = json.loads(printed)
        details = {name: float(number) for name, number in counted.items()}
        lost = round(details["lost"])
        return Outcome(
            value=details["p99_ms"],
            details={**details, "bulk_gbit_per_second": bits / 1e9},
            remarks=(f"{lost} requests lost",) if lost else (),
        )
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise LoadError(f"the small requests gave no result: {printed.strip()[-300:]}") from error


_AS_FAST: Final = Target(bound=Bound.AT_LEAST, limit=1.3)

LOADS: Final = (
    Load(
        family="keepalive",
        quantity=Quantity(
            key="keepalive",
            title="HTTP keep-alive, 50 connections",
            unit=Unit.REQUESTS,
            target=_AS_FAST,
            work=Work.REQUESTS,
        ),
        run=partial(_wrk, connections=50, keep_alive=True, value=lambda result: result.rate),
    ),
    Load(
        family="connections",
        quantity=Quantity(
            key="connections",
            title="HTTP, a new connection each, 20 at a time",
            unit=Unit.CONNECTIONS,
            target=Target(bound=Bound.AT_LEAST, limit=5),
            work=Work.CONNECTIONS,
        ),
        run=partial(_wrk, connections=20, keep_alive=False, value=lambda result: result.rate),
    ),
    Load(
        family="single",
        quantity=Quantity(
            key="single",
            title="one connection, one request at a time: p50",
            unit=Unit.MILLISECONDS,
            target=Target(bound=Bound.AT_MOST, limit=1.1),
            work=Work.REQUESTS,
        ),
        run=partial(_wrk, connections=1, keep_alive=True, value=lambda result: result.percentiles[50]),
    ),
    Load(
        family="iperf",
        quantity=Quantity(
            key="iperf-upload",
            title="iperf3, one stream",
            unit=Unit.GIGABITS,
            target=_AS_FAST,
            work=Work.BYTES,
        ),
        run=partial(bulk, way=Way.UPLOAD),
    ),
    Load(
        family="iperf",
        quantity=Quantity(
            key="iperf-download",
            title="iperf3 -R, one stream",
            unit=Unit.GIGABITS,
            target=_AS_FAST,
            work=Work.BYTES,
        ),
        run=partial(bulk, way=Way.DOWNLOAD),
    ),
    Load(
        family="mixed",
        quantity=Quantity(
            key="mixed-upload",
            title=f"{PACED_RATE} small req/s beside iperf3: p99",
            unit=Unit.MILLISECONDS,
            target=Target(bound=Bound.AT_MOST, limit=1),
        ),
        run=partial(_paced_beside_bulk, way=Way.UPLOAD),
    ),
    Load(
        family="mixed",
        quantity=Quantity(
            key="mixed-download",
            title=f"{PACED_RATE} small req/s beside iperf3 -R: p99",
            unit=Unit.MILLISECONDS,
            target=Target(bound=Bound.AT_MOST, limit=1),
        ),
        run=partial(_paced_beside_bulk, way=Way.DOWNLOAD),
    ),
)
