"""What visitors notice when one of three clients goes, and for how long.

``python -m tests.bench.failover`` as root, on Linux: it makes network namespaces. Three clients on machines
of their own serve one tunnel by preference; eight visitors keep their connections and eight come anew for
each request, fifty times a second each. Every scenario is run several times; the table has the medians, and
the highest of the counts in parentheses.

Rule: nothing is judged here. What must hold, tests/e2e/test_failover.py says.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isinf
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.support.failover import EACH, Failover, failover
from tests.support.real_software import find

_FIRST: Final = "attic"  # the client to which it happens
_LATER: Final = 1.0  # seconds for which visitors still come when all is over


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Something that happens.

    :param lasts: seconds for which visitors are watched behind it.
    :param ends: whether the gateway is to notice that the session has ended.
    """

    title: str
    happens: Callable[[Failover], float]
    lasts: float
    ends: bool = False
    each: int = EACH
    balance: str = "preference"


SCENARIOS: Final = {
    "kill": Scenario(title="client killed (kill -9)", happens=lambda at: at.kill(_FIRST), lasts=2, ends=True),
    "pull": Scenario(title="cable pulled", happens=lambda at: at.pull(_FIRST), lasts=8, ends=True),
    "pull-idle": Scenario(
        title="cable pulled, nobody comes anew",
        happens=lambda at: at.pull(_FIRST),
        lasts=28,
        ends=True,
        each=0,
    ),
    "service": Scenario(title="service down", happens=lambda at: at.kill_service(_FIRST), lasts=4),
    "slow": Scenario(title="service accepts nobody", happens=lambda at: at.stall_service(_FIRST), lasts=8),
    "silent": Scenario(
        title="service accepts and says nothing", happens=lambda at: at.mute_service(_FIRST), lasts=4
    ),
    "silent-fewest": Scenario(
        title="the same, least_connections",
        happens=lambda at: at.mute_service(_FIRST),
        lasts=4,
        balance="least_connections",
    ),
    "swap": Scenario(title="another client in the file", happens=lambda at: at.swap("barn"), lasts=3),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one run has shown. Times in seconds; infinite if it did not happen while it was watched."""

    requests: int
    cut: int
    turned_away: int
    unanswered: int
    moved: float
    slowest: float
    ended: float


def run(scenario: Scenario, directory: Path) -> Figures:
    with failover(directory, balance=scenario.balance) as at:
        load = at.ask(each=scenario.each)
        moment = scenario.happens(at)
        ended = inf
        if scenario.ends:
            at.gateway.wait_for("client_disconnected", client=_FIRST)
            ended = time.monotonic() - moment
        time.sleep(max(_LATER, scenario.lasts - (time.monotonic() - moment)))
        outcome = load.stop(moment)
        return Figures(
            requests=len(outcome.requests),
            cut=len(outcome.cut),
            turned_away=len(outcome.turned_away),
            unanswered=outcome.unanswered(_LATER),
            moved=outcome.moved(_FIRST),
            slowest=outcome.longest,
            ended=ended,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.failover", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default=",".join(SCENARIOS), help="of " + ", ".join(SCENARIOS))
    options = parser.parse_args(arguments)
    if os.geteuid() != 0 or find("ip") is None:
        print("network namespaces need root and iproute2: apt install iproute2", file=sys.stderr)
        return 1
    table = Table(
        "what happens", "requests", "cut", "turned away", "never answered",
        "moved after", "slowest newcomer", "session ended after",
    )  # fmt: skip
    for name in options.only.split(","):
        taken = []
        for number in range(options.runs):
            with tempfile.TemporaryDirectory() as directory:
                taken.append(run(SCENARIOS[name], Path(directory)))
            print(f"{name} {number + 1}: {taken[-1]}", file=sys.stderr)
        table.add_row(SCENARIOS[name].title, *cells(taken))
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    return 0


def cells(taken: Sequence[Figures]) -> list[str]:
    """The medians of several runs, as a row of the table has them."""

    def count(of: Callable[[Figures], int]) -> str:
        values = [of(figures) for figures in taken]
        return f"{statistics.median(values):.0f} ({max(values)})"

    def seconds(of: Callable[[Figures], float]) -> str:
        value = statistics.median(of(figures) for figures in taken)
        return "-" if isinf(value) else f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"

    return [
        f"{statistics.median(figures.requests for figures in taken):.0f}",
        count(lambda figures: figures.cut),
        count(lambda figures: figures.turned_away),
        count(lambda figures: figures.unanswered),
        seconds(lambda figures: figures.moved),
        seconds(lambda figures: figures.slowest),
        seconds(lambda figures: figures.ended),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
