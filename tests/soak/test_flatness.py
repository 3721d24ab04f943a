"""When memory counts as flat, and how it is drawn."""

from __future__ import annotations

import pytest

from .flatness import TOLERANCE, chart, drift

MIB = 1 << 20


def test_what_grows_in_the_warm_up_and_then_stays_is_flat() -> None:
    found = drift([*range(40 * MIB, 60 * MIB, MIB), *([60 * MIB] * 40)])
    assert found is not None
    assert found.is_flat


def test_what_goes_on_growing_is_not_flat() -> None:
    found = drift(range(100 * MIB, 160 * MIB, MIB))
    assert found is not None
    assert (found.early, found.late) == (124.5 * MIB, 154.5 * MIB)
    assert not found.is_flat


@pytest.mark.parametrize(("early", "grown"), [(50 * MIB, TOLERANCE), (200 * MIB, 20 * MIB)])
def test_the_larger_of_8_mib_and_a_tenth_may_be_added_and_not_a_byte_more(early: int, grown: int) -> None:
    flat, not_flat = (drift([early] * 20 + [early + grown + more] * 10) for more in (0, 1))
    assert flat is not None
    assert flat.is_flat
    assert not_flat is not None
    assert not not_flat.is_flat


def test_one_peak_at_the_end_decides_nothing() -> None:
    found = drift([50 * MIB] * 59 + [500 * MIB])
    assert found is not None
    assert found.is_flat


def test_a_few_samples_say_nothing() -> None:
    assert drift([50 * MIB] * 11) is None


def test_a_chart_has_a_bar_for_each_share_of_the_samples_and_the_highest_is_full() -> None:
    assert chart(range(8)) == "▁▂▃▄▅▆▇█"
    assert chart([1, 1, 9, 9], width=2) == "▁█"
    assert chart([5, 5, 5]) == "▁▁▁"
    assert chart([]) == ""
