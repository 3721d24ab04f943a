"""The table and the JSON of a run."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable

from rich.console import Console

from .figures import DIRECT, HAPROXY, TIDEGATE, Bound, Quantity, Sample, Target, Unit, Work
from .report import Report, as_json, number, remarks, table, times

RATE = Quantity(
    key="keepalive",
    title="HTTP keep-alive",
    unit=Unit.REQUESTS,
    target=Target(bound=Bound.AT_LEAST, limit=1.3),
    work=Work.REQUESTS,
)
REST = Quantity(
    key="idle",
    title="memory at rest",
    unit=Unit.MEGABYTES,
    target=Target(bound=Bound.AT_MOST, limit=50, reference=None),
)


def samples(quantity: Quantity, system: str, values: Iterable[float], **more: float) -> list[Sample]:
    return [
        Sample(
            quantity=quantity,
            system=system,
            number=index,
            value=value,
            done=more.get("done", 0.0),
            cpu=more.get("cpu", 0.0),
            peak={} if system == DIRECT else {"gateway": 58_000_000, "client": 57_000_000},
            details={"latency_ms_mean": 1.5},
            remarks=("3 read errors",) if system == HAPROXY and index == 1 else (),
        )
        for index, value in enumerate(values)
    ]


def example() -> Report:
    return Report(
        samples=[
            *samples(RATE, DIRECT, (80_000, 79_000, 81_000)),
            *samples(RATE, HAPROXY, (20_000, 18_000, 21_000), done=10_000, cpu=0.25),
            *samples(RATE, TIDEGATE, (25_000, 27_000, 24_000), done=10_000, cpu=0.2),
            *samples(REST, TIDEGATE, (57.6,)),
        ],
        secured={HAPROXY: "mutual TLS"},
        notes=["bore is left out"],
    )


def printed(report: Report) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(table(report))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def line_of(system: str, text: str) -> list[str]:
    """The words of the first line about a system."""
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [system])


def test_a_line_holds_the_median_its_spread_and_its_ratios() -> None:
    words = line_of(TIDEGATE, printed(example()))

    assert words[:7] == ["tidegate", "25,000", "24,000", "..", "27,000", "1.25", "0.31"]


def test_a_missed_target_is_called_so_beside_our_figure_only() -> None:
    text = printed(example())

    assert "missed" in line_of(TIDEGATE, text)
    assert "missed" not in line_of(HAPROXY, text)
    assert ">= 1.3 x" in text


def test_a_line_holds_what_it_cost() -> None:
    assert line_of(HAPROXY, printed(example()))[-4:] == ["0.25", "58", "+", "57"]


def test_what_has_no_processes_costs_nothing_that_could_be_shown() -> None:
    assert line_of(DIRECT, printed(example()))[-2:] == ["-", "-"]


def test_a_quantity_without_a_reference_shows_no_ratio() -> None:
    text = printed(Report(samples=samples(REST, TIDEGATE, [57.6]), secured={}, notes=[]))

    assert line_of(TIDEGATE, text)[:7] == ["tidegate", "57.6", "57.6", "..", "57.6", "-", "-"]
    assert "missed" in text


def test_what_a_load_generator_counted_is_told_with_its_round() -> None:
    assert remarks(example()) == ["keepalive, haproxy, round 2: 3 read errors"]


def test_the_json_holds_every_sample_and_can_be_written() -> None:
    written = json.loads(json.dumps(as_json(example())))

    rate = written["figures"][0]
    ours = rate["systems"][TIDEGATE]
    assert (rate["key"], rate["target"], rate["verdict"]) == ("keepalive", ">= 1.3 x", "missed")
    assert (ours["median"], ours["lowest"], ours["highest"]) == (25_000, 24_000, 27_000)
    assert ours["ratio_to_reference"] == 1.25
    assert [(one["round"], one["value"]) for one in ours["samples"]] == [
        (1, 25_000),
        (2, 27_000),
        (3, 24_000),
    ]
    assert ours["samples"][0]["latency_ms_mean"] == 1.5
    assert written["notes"] == ["bore is left out", "keepalive, haproxy, round 2: 3 read errors"]


def test_a_missing_number_is_shown_as_missing() -> None:
    assert (number(None, Unit.REQUESTS), times(None)) == ("-", "-")


def test_each_unit_has_the_digits_that_mean_something() -> None:
    assert {unit: number(1234.5678, unit) for unit in Unit} == {
        Unit.REQUESTS: "1,235",
        Unit.CONNECTIONS: "1,235",
        Unit.MILLISECONDS: "1,234.568",
        Unit.GIGABITS: "1,234.57",
        Unit.MEGABITS: "1,235",
        Unit.MEGABYTES: "1,234.6",
        Unit.KILOBYTES: "1,234.57",
    }
