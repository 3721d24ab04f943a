"""What is measured, and what several measurements of it come to.

Rule: pure. A figure is the median of its samples; a ratio divides medians; a target is met, missed or,
without figures, open. Nothing here knows how a sample was taken.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

HAPROXY: Final = "haproxy"
TIDEGATE: Final = "tidegate"
DIRECT: Final = "direct"
PLAIN: Final = "plain"


class Unit(Enum):
    """What a value is counted in; all sizes are decimal (1 MB is 1,000,000 bytes), as iperf3 counts."""

    REQUESTS = "req/s"
    CONNECTIONS = "conn/s"
    MILLISECONDS = "ms"
    GIGABITS = "Gbit/s"
    MEGABITS = "Mbit/s"
    MEGABYTES = "MB"
    KILOBYTES = "KB"


class Bound(Enum):
    AT_LEAST = ">="
    AT_MOST = "<="


class Verdict(Enum):
    MET = "met"
    MISSED = "missed"
    OPEN = "open"  # a figure that it needs is missing


class Work(Enum):
    """What CPU seconds are divided by: so much work, and what that is called."""

    REQUESTS = "10,000 req"
    CONNECTIONS = "10,000 conn"
    BYTES = "GB"

    @property
    def amount(self) -> float:
        return 1e9 if self is Work.BYTES else 10_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What Tidegate's figure should be.

    :param reference: the system whose figure ``limit`` multiplies; None if ``limit`` stands by itself.
    """

    bound: Bound
    limit: float
    reference: str | None = HAPROXY

    def verdict(self, value: float | None, reference: float | None) -> Verdict:
        if value is None or (self.reference is not None and reference is None):
            return Verdict.OPEN
        limit = self.limit * (reference or 0.0) if self.reference is not None else self.limit
        met = value >= limit if self.bound is Bound.AT_LEAST else value <= limit
        return Verdict.MET if met else Verdict.MISSED

    def __str__(self) -> str:
        return f"{self.bound.value} {self.limit:g}" + (" x" if self.reference is not None else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One thing that is measured of every system: a block of the table.

    :param key: its name in the JSON file.
    :param reference: the system that the others are divided by.
    :param work: what its CPU seconds are counted for; None if they tell nothing.
    """

    key: str
    title: str
    unit: Unit
    reference: str = HAPROXY
    target: Target | None = None
    work: Work | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measurement of one quantity of one system.

    :param done: how many requests, connections or bytes ``cpu`` was spent on.
    :param cpu: seconds of the system's own processes, user and kernel.
    :param peak: the most memory that each of its sides had resident meanwhile, in bytes.
    :param details: more numbers, for the JSON file.
    :param remarks: what a reader of the figure has to know, such as errors that the load generator counted.
    """

    quantity: Quantity
    system: str
    number: int
    value: float
    done: float = 0.0
    cpu: float = 0.0
    peak: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """The samples of one quantity of one system, put together.

    :param cost: CPU seconds for each :attr:`Work.amount`; None where that is not counted.
    :param peak: the highest of all samples, by side, in bytes.
    """

    median: float
    lowest: float
    highest: float
    samples: tuple[Sample, ...]
    cost: float | None
    peak: Mapping[str, int]


def figure(samples: Sequence[Sample], work: Work | None) -> Figure:
    """:raises ValueError: if there is no sample."""
    values = [sample.value for sample in samples]
    costs = [
        sample.cpu / sample.done * work.amount for sample in samples if work and sample.done and sample.peak
    ]
    roles = dict.fromkeys(role for sample in samples for role in sample.peak)
    return Figure(
        median=statistics.median(values),
        lowest=min(values),
        highest=max(values),
        samples=tuple(samples),
        cost=statistics.median(costs) if costs else None,
        peak={role: max(sample.peak.get(role, 0) for sample in samples) for role in roles},
    )


def figures(quantity: Quantity, samples: Iterable[Sample]) -> dict[str, Figure]:
    """The figure of each system that has a sample of this quantity, in the order in which they came."""
    grouped: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.quantity == quantity:
            grouped.setdefault(sample.system, []).append(sample)
    return {system: figure(taken, quantity.work) for system, taken in grouped.items()}


def ratio(value: Figure | None, reference: Figure | None) -> float | None:
    """How many times the reference's median; None where one of them is missing or nothing."""
    if value is None or reference is None or not reference.median:
        return None
    return value.median / reference.median


def verdict(quantity: Quantity, found: Mapping[str, Figure]) -> Verdict | None:
    """Whether Tidegate's figure meets the target; None if there is no target."""
    if quantity.target is None:
        return None
    ours, theirs = found.get(TIDEGATE), found.get(quantity.target.reference or "")
    return quantity.target.verdict(
        None if ours is None else ours.median, None if theirs is None else theirs.median
    )
