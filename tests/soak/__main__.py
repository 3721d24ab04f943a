"""The soak as a program: ``make soak``, ``make soak ARGS="--seconds 60 --seed 7 --sessions 2 --stock-loop"``.

Rule: this file reads the command line and says how it went, with exit status 1 if anything was found that
may not be.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import anyio

from .run import Options, Run
from .script import Measures


def main() -> int:
    """Run the soak; the exit status."""
    arguments = _arguments()
    options = Options(
        seed=random.randrange(10_000) if arguments.seed is None else arguments.seed,
        seconds=arguments.seconds,
        conversations=0,
        warm_up=80,
        rate=arguments.rate,
        visitors=arguments.visitors,
        chaos_every=max(1, round(arguments.rate * arguments.chaos_every)),
        measures=Measures(largest=round(arguments.largest * 1_000_000), longest=5.0, patient=True),
        limit=150.0,
        sessions=arguments.sessions,
        stock_loop=arguments.stock_loop,
        longest_freeze=2.0,
        deadly=True,
        kill_gateway=arguments.kill_gateway,
        settings={"ping_interval": "3s", "ping_timeout": "10s"},
    )
    print(f"to repeat this: --seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        run = Run(options, tell=lambda line: print(line, flush=True))
        report = anyio.run(run.perform, Path(directory), backend_options={"use_uvloop": True})
    print(report)
    if arguments.json is not None:
        arguments.json.write_text(report.as_json())
    return 0 if report.is_sound else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description="Mixed load on a gateway and two clients, with connections cut at random on both sides.",
    )
    add = parser.add_argument
    add("--seconds", type=float, default=600, help="how long visitors come (600)")
    add("--seed", type=int, help="decides who comes and what goes wrong (random, and printed)")
    add("--rate", type=float, default=20, help="visitors a second, on average (20)")
    add("--visitors", type=int, default=200, help="at once, at most (200)")
    add("--largest", type=float, default=50, help="megabytes of the largest transfer (50)")
    add("--chaos-every", type=float, default=8, help="seconds between two things that go wrong, about (8)")
    add("--sessions", type=int, default=1, help="of each client (1)")
    add("--stock-loop", action="store_true", help="run the agents on Python's own event loop")
    add("--kill-gateway", action="store_true", help="kill the gateway as well, now and then")
    add("--json", type=Path, metavar="PATH", help="write everything that was measured there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
