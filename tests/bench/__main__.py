"""``make bench``: see README.md in this directory.

Rule: this file alone writes to the terminal and to the results directory.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from rich.console import Console

from tests.support.real_software import find

from .bench import FAMILIES, Bench
from .chart import ChartError, draw
from .competitors import COMPETITORS
from .machine import describe, versions
from .options import Options, parse_options
from .report import Report, as_json, remarks, table
from .systems import ALWAYS, ON_REQUEST

REQUIRED: Final = ("wrk", "iperf3", "nginx", "haproxy")
_WIDTH: Final = 140  # of the table where the output is no terminal
_SYSTEMS: Final = (*ALWAYS, *COMPETITORS, *ON_REQUEST)


def main() -> int:
    options = parse_options(sys.argv[1:], families=FAMILIES, systems=[system.name for system in _SYSTEMS])
    console = _console(stderr=True)
    if sys.platform != "linux":
        console.print("The benchmark reads /proc, which only Linux has: run it there.")
        return 1
    missing = [program for program in REQUIRED if find(program) is None]
    if missing:
        console.print(
            f"not installed: {', '.join(missing)}. Debian, Ubuntu: apt install wrk iperf3 nginx-light haproxy"
        )
        return 1
    for stop in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, _interrupt)
    skipped = [system for system in _SYSTEMS if system.missing]
    chosen = [
        system
        for system in _SYSTEMS
        if system not in skipped
        and (system not in ON_REQUEST if options.systems is None else system.name in options.systems)
    ]
    notes = [
        f"{system.name} is left out: {', '.join(system.missing)} not found on PATH"
        for system in skipped
        if options.systems is None or system.name in options.systems
    ]
    for note in notes:
        console.print(note)
    begun = datetime.now(UTC)
    machine = {**describe(), "programs": versions([*REQUIRED, *(n for s in chosen for n in s.needs)])}
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as directory:
        report = Bench(options, chosen, Path(directory), lambda line: console.print(line)).run()
    _show(report, notes, options, machine, begun, console)
    return 0 if report.samples else 1


def _show(
    report: Report,
    notes: list[str],
    options: Options,
    machine: dict[str, object],
    begun: datetime,
    console: Console,
) -> None:
    out = _console(stderr=False)
    out.print(table(report))
    out.print(", ".join(f"{name}: {how}" for name, how in report.secured.items()))
    for line in [*notes, *report.notes, *remarks(report)]:
        out.print(line)
    options.results.mkdir(parents=True, exist_ok=True)
    stem = options.results / begun.strftime("%Y%m%d-%H%M%S")
    written = {
        "begun": begun.isoformat(timespec="seconds"),
        "options": {"rounds": options.rounds, "seconds": options.seconds, "loads": options.families},
        "machine": machine,
        **as_json(report),
    }
    written["notes"] = [*notes, *written["notes"]]
    stem.with_suffix(".json").write_text(json.dumps(written, indent=2) + "\n")
    console.print(f"wrote {stem.with_suffix('.json')}")
    try:
        draw(report, stem.with_suffix(".svg"))
        console.print(f"wrote {stem.with_suffix('.svg')}")
    except ChartError as error:
        console.print(f"no chart: {error}")


def _console(*, stderr: bool) -> Console:
    """Wide where it writes to a file or a pipe, whose width nobody knows."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        file=stream, highlight=False, markup=False, soft_wrap=True, width=None if stream.isatty() else _WIDTH
    )


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted; everything that was started has been stopped", file=sys.stderr)
        sys.exit(130)
