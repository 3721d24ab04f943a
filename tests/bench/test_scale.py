"""Thousands of tunnels under the benchmark: tens of them here, so that it cannot rot unseen."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import scale
from .figures import TIDEGATE
from .services import services


@pytest.mark.real_software("nginx", "iperf3")
def test_every_figure_is_taken_and_one_changed_line_touches_one_listener(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, small in {
        "TUNNELS": 100,
        "_PORTS": 10,
        "_FRAGMENTS": 10,
        "_ADDED": 5,
        "_LEAST_SECONDS": 1.0,
    }.items():
        monkeypatch.setattr(scale, name, small)

    with services(tmp_path) as behind:
        samples = list(scale.measure(tmp_path / "scale", behind, number=0, seconds=1))

    found = [(sample.quantity.key, sample.system) for sample in samples]
    assert len(set(found)) == len(found) == 11
    assert {key for key, system in found if system == TIDEGATE} == {
        "scale-check",
        "scale-change",
        "scale-change-p99",
        "scale-fragment",
        "scale-fragment-p99",
        "scale-added",
        "scale-memory",
        "scale-memory-peak",
    }
    assert all(sample.value > 0 for sample in samples)
    assert [remark for sample in samples for remark in sample.remarks] == []
