"""What a run found, as a table for people and as a value for programs.

Rule: pure. Both are made from the same figures; nothing is rounded before it is divided, and a figure that is
missing is shown as missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich import box
from rich.table import Table
from rich.text import Text

from .figures import DIRECT, TIDEGATE, Figure, Quantity, Sample, Unit, Verdict, figures, ratio, verdict

_DECIMALS: Final = {
    Unit.REQUESTS: 0,
    Unit.CONNECTIONS: 0,
    Unit.MILLISECONDS: 3,
    Unit.GIGABITS: 2,
    Unit.MEGABITS: 0,
    Unit.MEGABYTES: 1,
    Unit.KILOBYTES: 2,
}
_STYLE: Final = {Verdict.MET: "green", Verdict.MISSED: "red", Verdict.OPEN: "yellow"}
_NOTHING: Final = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that one run has to say.

    :param secured: how each system protects its bytes.
    :param notes: what was left out or went wrong, and why.
    """

    samples: Sequence[Sample]
    secured: Mapping[str, str]
    notes: Sequence[str]

    def found(self) -> list[tuple[Quantity, dict[str, Figure]]]:
        """Each quantity that was measured, in the order in which that was done, with its figures."""
        quantities = dict.fromkeys(sample.quantity for sample in self.samples)
        return [(quantity, figures(quantity, self.samples)) for quantity in quantities]


def number(value: float | None, unit: Unit) -> str:
    return _NOTHING if value is None else f"{value:,.{_DECIMALS[unit]}f}"


def times(value: float | None) -> str:
    """A ratio, with as many digits as mean something."""
    return _NOTHING if value is None else f"{value:.2f}"


def table(report: Report) -> Table:
    """A block a quantity: its unit, its target and what CPU is counted for, then a line a system."""
    grid = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    grid.add_column("median of interleaved runs", no_wrap=True)
    for name in ("", "lowest .. highest", "ratio", "to direct", "target", "CPU s", "peak MB"):
        grid.add_column(name, justify="right", no_wrap=True)
    for quantity, found in report.found():
        target = f"{quantity.target}" if quantity.target else ""
        work = f"per {quantity.work.value}" if quantity.work else ""
        grid.add_row(quantity.title, quantity.unit.value, "", "", "", target, work, "", style="bold")
        for system, one in found.items():
            grid.add_row(*_line(quantity, found, system, one), end_section=system == list(found)[-1])
    return grid


def _line(
    quantity: Quantity, found: Mapping[str, Figure], system: str, one: Figure
) -> tuple[str | Text, ...]:
    reached = verdict(quantity, found) if system == TIDEGATE else None
    return (
        f"  {system}",
        number(one.median, quantity.unit),
        f"{number(one.lowest, quantity.unit)} .. {number(one.highest, quantity.unit)}",
        times(ratio(one, found.get(quantity.reference))),
        times(ratio(one, found.get(DIRECT))),
        Text("" if reached is None else reached.value, style="" if reached is None else _STYLE[reached]),
        _NOTHING if one.cost is None else f"{one.cost:.2f}",
        " + ".join(f"{size / 1e6:.0f}" for size in one.peak.values()) or _NOTHING,
    )


def remarks(report: Report) -> list[str]:
    """What load generators said of single samples."""
    return [
        f"{sample.quantity.key}, {sample.system}, round {sample.number + 1}: {remark}"
        for sample in report.samples
        for remark in sample.remarks
    ]


def as_json(report: Report) -> dict[str, Any]:
    """Every figure with its spread, its samples and its ratios."""
    return {
        "figures": [_quantity(quantity, found) for quantity, found in report.found()],
        "secured": dict(report.secured),
        "notes": [*report.notes, *remarks(report)],
    }


def _quantity(quantity: Quantity, found: Mapping[str, Figure]) -> dict[str, Any]:
    reached = verdict(quantity, found)
    return {
        "key": quantity.key,
        "title": quantity.title,
        "unit": quantity.unit.value,
        "reference": quantity.reference,
        "target": str(quantity.target) if quantity.target else None,
        "verdict": reached.value if reached else None,
        "cpu_seconds_per": quantity.work.value if quantity.work else None,
        "systems": {name: _figure(quantity, one, found) for name, one in found.items()},
    }


def _figure(quantity: Quantity, one: Figure, found: Mapping[str, Figure]) -> dict[str, Any]:
    return {
        "median": one.median,
        "lowest": one.lowest,
        "highest": one.highest,
        "ratio_to_reference": ratio(one, found.get(quantity.reference)),
        "ratio_to_direct": ratio(one, found.get(DIRECT)),
        "cpu_seconds": one.cost,
        "peak_bytes": dict(one.peak),
        "samples": [
            {"round": s.number + 1, "value": s.value, "cpu_seconds": s.cpu, "done": s.done, **s.details}
            for s in one.samples
        ],
    }
