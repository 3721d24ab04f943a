"""A short soak: all kinds of visitors, everything that can go wrong, once each, and nothing may be left."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from .run import Options, Run
from .script import MIB, Measures

SEED = 3


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("stock_loop", "sessions"), [(False, 1), (True, 3)], ids=["uvloop, one session", "stock loop, three"]
)
def test_whatever_is_cut_no_byte_is_wrong_no_end_is_false_and_nothing_is_left_behind(
    tmp_path: Path, stock_loop: bool, sessions: int
) -> None:
    options = Options(
        seed=SEED,
        seconds=None,
        conversations=200,
        warm_up=40,
        rate=None,
        visitors=40,
        chaos_every=20,  # ten things go wrong: each of those there are, once
        measures=Measures(largest=3 * MIB, longest=0.3, patient=False),
        limit=100.0,
        sessions=sessions,
        stock_loop=stock_loop,
        longest_freeze=0.3,
        deadly=False,
        kill_gateway=False,
        settings={},
    )
    report = anyio.run(Run(options, tell=print).perform, tmp_path, backend_options={"use_uvloop": True})
    print(report)  # shown if this fails
    assert report.faults == []
    assert len(report.chaos) == 10
    assert report.total > 240
