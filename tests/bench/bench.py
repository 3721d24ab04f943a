"""One run of the benchmark, from what is installed to what was found.

Rule: a system that does not start, or fails under a load, costs its own figures and nobody else's, and is
told of. Whatever was started is stopped, also when the run is interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from . import long_path, memory, scale
from .figures import DIRECT, TIDEGATE, Sample
from .loads import LOADS, Load
from .options import Options
from .report import Report, number
from .rounds import FAILURES, one_round, rotated
from .services import services
from .systems import Running, Services, System, started

FAMILIES = tuple(
    dict.fromkeys([*(load.family for load in LOADS), memory.FAMILY, long_path.FAMILY, scale.FAMILY])
)

Say = Callable[[str], None]


class Bench:
    """:param say: takes lines about the progress."""

    def __init__(self, options: Options, systems: Sequence[System], directory: Path, say: Say) -> None:
        self._options = options
        self._systems = systems
        self._directory = directory
        self._say = say
        self._samples: list[Sample] = []
        self._notes: list[str] = []

    def run(self) -> Report:
        families = self._options.families
        short = [load for load in LOADS if load.family in families]
        ours = any(system.name == TIDEGATE for system in self._systems)
        long = long_path.LOADS if ours and long_path.FAMILY in families else ()
        with services(self._directory) as behind:
            if short:
                self._measure(short, self._systems, "short", behind)
            if memory.FAMILY in families:
                self._measure_memory(behind)
            if long:
                self._measure(long, long_path.SYSTEMS, "long", behind)
            if ours and scale.FAMILY in families:
                self._measure_scale(behind)
        return Report(
            samples=self._samples,
            secured={system.name: system.secured for system in self._systems},
            notes=self._notes,
        )

    def _measure(self, loads: Sequence[Load], systems: Sequence[System], name: str, behind: Services) -> None:
        with self._all(systems, self._directory / name, behind) as now:
            for turn in range(self._options.rounds):
                seconds = self._options.seconds
                for sample in one_round(loads, now, number=turn, seconds=seconds, failed=self._failed):
                    self._took(sample)

    def _measure_memory(self, behind: Services) -> None:
        visitors = memory.possible_visitors(self._options.visitors)
        if visitors < self._options.visitors:
            self._note(f"{visitors:,} idle visitors and not {self._options.visitors:,}: see ulimit -Hn")
        systems = [system for system in self._systems if system.name != DIRECT]
        for turn in range(self._options.rounds):
            for system in rotated(systems, turn):
                place = self._directory / f"memory{turn}" / system.name
                try:
                    for sample in memory.measure(system, place, behind, visitors=visitors, number=turn):
                        self._took(sample)
                except FAILURES as error:
                    self._failed(memory.FAMILY, system.name, error)

    def _measure_scale(self, behind: Services) -> None:
        for turn in range(self._options.rounds):
            place = self._directory / f"scale{turn}"
            try:
                for sample in scale.measure(place, behind, number=turn, seconds=self._options.seconds):
                    self._took(sample)
            except FAILURES as error:
                self._failed(scale.FAMILY, TIDEGATE, error)

    @contextmanager
    def _all(
        self, systems: Sequence[System], directory: Path, behind: Services
    ) -> Iterator[Mapping[str, Running]]:
        """Those of the systems that start, all at once: one that is idle takes no time from the others."""
        with ExitStack() as stack:
            now = {}
            for system in systems:
                try:
                    now[system.name] = stack.enter_context(started(system, directory / system.name, behind))
                except FAILURES as error:
                    self._note(f"{system.name} is left out, it did not start: {error}")
            yield now

    def _took(self, sample: Sample) -> None:
        self._samples.append(sample)
        unit = sample.quantity.unit
        self._say(
            f"round {sample.number + 1}/{self._options.rounds}  {sample.quantity.key:<20}"
            f"{sample.system:<10}{number(sample.value, unit):>10} {unit.value}"
        )

    def _failed(self, quantity: str, system: str, error: Exception) -> None:
        self._note(f"{quantity}, {system}: {error}")

    def _note(self, text: str) -> None:
        self._notes.append(text)
        self._say(text)
