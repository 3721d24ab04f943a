"""Medians, ratios and targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .figures import (
    HAPROXY,
    TIDEGATE,
    Bound,
    Quantity,
    Sample,
    Target,
    Unit,
    Verdict,
    Work,
    figure,
    figures,
    ratio,
    verdict,
)

RATE = Quantity(
    key="rate",
    title="requests",
    unit=Unit.REQUESTS,
    target=Target(bound=Bound.AT_LEAST, limit=1.3),
    work=Work.REQUESTS,
)
positive = st.floats(min_value=1e-3, max_value=1e9)


def sample(
    system: str,
    value: float,
    *,
    cpu: float = 0.0,
    done: float = 0.0,
    peak: int = 1,
    quantity: Quantity = RATE,
    number: int = 0,
) -> Sample:
    return Sample(
        quantity=quantity,
        system=system,
        number=number,
        value=value,
        done=done,
        cpu=cpu,
        peak={"gateway": peak} if peak else {},
    )


def both(ours: Sequence[float], theirs: Sequence[float]) -> list[Sample]:
    return [sample(TIDEGATE, value) for value in ours] + [sample(HAPROXY, value) for value in theirs]


def test_one_disturbed_round_does_not_move_a_figure() -> None:
    found = figure([sample(TIDEGATE, value) for value in (100.0, 3.0, 102.0)], None)

    assert (found.median, found.lowest, found.highest) == (100.0, 3.0, 102.0)


@given(st.lists(positive, min_size=1, max_size=9))
def test_a_median_lies_within_its_spread(values: list[float]) -> None:
    found = figure([sample(TIDEGATE, value) for value in values], None)

    assert found.lowest <= found.median <= found.highest


def test_cpu_seconds_are_for_ten_thousand_requests() -> None:
    found = figure([sample(TIDEGATE, 1, cpu=3.0, done=60_000)], Work.REQUESTS)

    assert found.cost == pytest.approx(0.5)


def test_cpu_seconds_of_a_transfer_are_for_a_gigabyte() -> None:
    found = figure([sample(TIDEGATE, 1, cpu=3.0, done=2e9)], Work.BYTES)

    assert found.cost == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("work", "done", "peak"),
    [(None, 5, 1), (Work.BYTES, 0, 1), (Work.BYTES, 5, 0)],
    ids=["uncounted", "idle", "no processes"],
)
def test_without_work_or_processes_there_is_no_cost(work: Work | None, done: float, peak: int) -> None:
    assert figure([sample(TIDEGATE, 1, cpu=1.0, done=done, peak=peak)], work).cost is None


def test_the_peak_is_the_highest_of_all_rounds() -> None:
    found = figure([sample(TIDEGATE, 1, peak=peak) for peak in (7, 9, 8)], None)

    assert found.peak == {"gateway": 9}


def test_figures_are_of_one_quantity_and_by_system() -> None:
    samples = [*both([1, 2, 3], [4]), sample(TIDEGATE, 99, quantity=replace(RATE, key="another"))]

    found = figures(RATE, samples)

    assert {system: one.median for system, one in found.items()} == {TIDEGATE: 2, HAPROXY: 4}


@given(positive, positive)
def test_a_ratio_divides_medians(ours: float, theirs: float) -> None:
    found = figures(RATE, both([ours], [theirs]))

    assert ratio(found[TIDEGATE], found[HAPROXY]) == pytest.approx(ours / theirs)


def test_a_ratio_to_nothing_is_missing() -> None:
    found = figures(RATE, both([1], [0]))

    assert ratio(found[TIDEGATE], found[HAPROXY]) is None
    assert ratio(found[TIDEGATE], None) is None
    assert ratio(None, found[TIDEGATE]) is None


@pytest.mark.parametrize(
    ("ours", "reached"), [(129.9, Verdict.MISSED), (130.0, Verdict.MET), (500.0, Verdict.MET)]
)
def test_a_rate_must_reach_its_multiple_of_the_reference(ours: float, reached: Verdict) -> None:
    assert verdict(RATE, figures(RATE, both([ours], [100.0]))) is reached


@pytest.mark.parametrize(("ours", "reached"), [(0.11, Verdict.MET), (0.12, Verdict.MISSED)])
def test_a_latency_must_not_exceed_its_multiple(ours: float, reached: Verdict) -> None:
    target = Target(bound=Bound.AT_MOST, limit=1.1)

    assert target.verdict(ours, 0.1) is reached


@pytest.mark.parametrize(("ours", "reached"), [(49.0, Verdict.MET), (51.0, Verdict.MISSED)])
def test_a_target_without_a_reference_stands_by_itself(ours: float, reached: Verdict) -> None:
    target = Target(bound=Bound.AT_MOST, limit=50, reference=None)

    assert target.verdict(ours, None) is reached


@pytest.mark.parametrize("samples", [both([], [1]), both([1], []), []], ids=["ours", "theirs", "both"])
def test_a_target_without_its_figures_stays_open(samples: list[Sample]) -> None:
    assert verdict(RATE, figures(RATE, samples)) is Verdict.OPEN
