"""What a run has shown, for people and as JSON.

Rule: a report is a value. It is sound if nothing was found that may not be; every number that was looked
at is in it, also when all is well.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .flatness import Drift, chart, drift
from .ledger import Outcome

_MIB = 1 << 20
_SHOWN = 40  # faults


@dataclass(kw_only=True)
class Series:
    """Samples of one agent, one a second."""

    memory: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything there is to say about a run.

    :param watched: agents whose memory must stay flat; the others do not live long enough.
    :param held: by agent, what there was before and afterwards: descriptors, tasks, objects.
    """

    options: Mapping[str, Any]
    seconds: float
    outcomes: Mapping[str, Mapping[Outcome, int]]
    heard_by_visitors: int
    heard_by_services: int
    strays: int
    most_at_once: int
    chaos: Mapping[str, int]
    sessions_lost: int
    series: Mapping[str, Series]
    watched: Sequence[str]
    held: Mapping[str, Mapping[str, tuple[int, int]]]
    faults: Sequence[str]

    @property
    def is_sound(self) -> bool:
        return not self.faults

    @property
    def total(self) -> int:
        return sum(sum(outcomes.values()) for outcomes in self.outcomes.values())

    def as_json(self) -> str:
        """As JSON; sizes in bytes."""
        return json.dumps(
            {
                "options": self.options,
                "seconds": round(self.seconds, 1),
                "sound": self.is_sound,
                "conversations": self.total,
                "outcomes": {
                    kind: {outcome.name.lower(): count for outcome, count in outcomes.items()}
                    for kind, outcomes in self.outcomes.items()
                },
                "heard_by_visitors": self.heard_by_visitors,
                "heard_by_services": self.heard_by_services,
                "strays": self.strays,
                "most_at_once": self.most_at_once,
                "chaos": self.chaos,
                "sessions_lost": self.sessions_lost,
                "agents": {
                    name: {
                        "memory": series.memory,
                        "descriptors": series.descriptors,
                        "held": self.held.get(name, {}),
                    }
                    for name, series in self.series.items()
                },
                "faults": self.faults,
            },
            indent=1,
        )

    def __str__(self) -> str:
        return "\n".join((*self._conversations(), "", *self._agents(), "", *self._verdict()))

    def _conversations(self) -> list[str]:
        rows = [(kind, outcomes) for kind, outcomes in sorted(self.outcomes.items())]
        sums = Counter[Outcome]()
        for _, outcomes in rows:
            sums.update(outcomes)
        rows.append(("all", sums))
        lines = [f"{'conversations':16}" + "".join(f"{outcome.value:>24}" for outcome in Outcome)]
        for kind, outcomes in rows:
            cells = (outcomes.get(outcome, 0) or "." for outcome in Outcome)
            lines.append(f"{kind:16}" + "".join(f"{cell:>24}" for cell in cells))
        to_visitors, to_services = self.heard_by_visitors / _MIB, self.heard_by_services / _MIB
        chaos = ", ".join(f"{name} {count}" for name, count in sorted(self.chaos.items()))
        return [
            *lines,
            "",
            f"{self.total:,} conversations in {self.seconds:.0f} s, {self.most_at_once} at once at most; "
            f"{self.strays} left before they had said a word",
            f"every byte compared: {to_visitors:,.0f} MiB to visitors, {to_services:,.0f} MiB to services",
            f"{self.sessions_lost} sessions lost; what went wrong on purpose: {chaos or 'nothing'}",
        ]

    def _agents(self) -> list[str]:
        lines = []
        for name, series in self.series.items():
            if not series.memory:
                continue
            sizes = (series.memory[0], max(series.memory), series.memory[-1])
            first, peak, last = (f"{size / _MIB:.1f}" for size in sizes)
            held = self.held.get(name, {})
            counts = ", ".join(f"{what} {before}/{after}" for what, (before, after) in held.items())
            lines += [
                f"{name:8} MiB: first {first}, peak {peak}, last {last}{self._drift(name, series)}",
                f"{'':8} {chart(series.memory)}",
                f"{'':8} at most {max(series.descriptors)} descriptors; before/afterwards: {counts}",
            ]
        return lines

    def _drift(self, name: str, series: Series) -> str:
        found: Drift | None = drift(series.memory) if name in self.watched else None
        if found is None:
            return ""
        word = "flat" if found.is_flat else "NOT FLAT"
        return (
            f"; behind the warm-up {found.early / _MIB:.1f}, at the end {found.late / _MIB:.1f} "
            f"({found.allowed / _MIB:.1f} allowed): {word}"
        )

    def _verdict(self) -> list[str]:
        if self.is_sound:
            return ["nothing lost, nothing left behind"]
        more = len(self.faults) - _SHOWN
        shown = [f"- {fault}" for fault in self.faults[:_SHOWN]]
        return [f"{len(self.faults)} faults:", *shown, *([f"… and {more} more"] if more > 0 else [])]
