"""The benchmark runs: a short load through everything that it starts, so that it cannot rot unseen."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import pytest

from tests.support.site import Site

from .bench import FAMILIES, Bench
from .figures import DIRECT, HAPROXY, TIDEGATE
from .options import Options, parse_options
from .processes import StartError
from .report import Report
from .systems import ALWAYS, Running, Services, System

NAMES: Final = [system.name for system in ALWAYS]


def short(*only: str) -> Options:
    arguments = ["--rounds", "1", "--seconds", "1", "--only", ",".join(only)]
    return parse_options(arguments, families=FAMILIES, systems=NAMES)


def _broken(place: Site, services: Services) -> AbstractContextManager[Running]:
    raise StartError("it was not meant to start")


@pytest.mark.real_software("wrk", "iperf3", "nginx", "haproxy")
def test_a_short_round_measures_every_system_that_starts(tmp_path: Path) -> None:
    broken = System(name="broken", secured="not at all", start=_broken)
    lines: list[str] = []

    report: Report = Bench(short("single"), [*ALWAYS, broken], tmp_path, lines.append).run()

    ((quantity, found),) = report.found()
    assert quantity.key == "single"
    assert list(found) == [DIRECT, HAPROXY, TIDEGATE]
    assert {name for name, figure in found.items() if figure.median <= 0} == set()
    assert {name for name, figure in found.items() if figure.cost and figure.cost > 0} == {HAPROXY, TIDEGATE}
    assert {name for name, figure in found.items() if figure.peak} == {HAPROXY, TIDEGATE}
    assert report.notes == ["broken is left out, it did not start: it was not meant to start"]
    assert len(lines) == 4
