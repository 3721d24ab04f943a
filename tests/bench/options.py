"""What can be asked of the benchmark on its command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RESULTS: Final = Path("build/bench")

_DESCRIPTION: Final = """\
Measures Tidegate beside two HAProxies with mutual TLS between them, beside no tunnel at all, and beside
whichever of frp, rathole, chisel and bore are installed, all in one run on this machine. Prints a table, and
writes the same as JSON and as a chart. tests/bench/README.md says how to read them.
"""
_EPILOG: Final = """\
examples:
  make bench
  make bench ARGS="--only keepalive,iperf --rounds 5 --seconds 4"
  make bench ARGS="--systems tidegate,haproxy --only connections"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """:param systems: None for all that are installed."""

    rounds: int
    seconds: float
    families: tuple[str, ...]
    systems: tuple[str, ...] | None
    visitors: int
    results: Path


def parse_options(arguments: Sequence[str], *, families: Sequence[str], systems: Sequence[str]) -> Options:
    """Ends the program with a message if the arguments are wrong, as argparse does."""
    parser = argparse.ArgumentParser(
        prog="make bench ARGS=...",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--rounds", type=_positive, default=3, help="samples of each figure (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds",
        type=_positive,
        default=2,
        help="length of one load, whole seconds (default: %(default)s)",
    )
    parser.add_argument(
        "--only", metavar="LOAD,...", help=f"some of: {', '.join(families)} (default: all)", default=None
    )
    parser.add_argument(
        "--systems",
        metavar="SYSTEM,...",
        help=f"some of: {', '.join(systems)} (default: all that are installed, but ws and wss)",
    )
    parser.add_argument(
        "--visitors",
        type=_positive,
        default=4000,
        help="idle visitors whose memory is measured (default: %(default)s)",
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, metavar="DIRECTORY", help="(default: %(default)s)"
    )
    found = parser.parse_args(arguments)
    return Options(
        rounds=found.rounds,
        seconds=found.seconds,
        families=_some(parser, "--only", found.only, families) or tuple(families),
        systems=_some(parser, "--systems", found.systems, systems),
        visitors=found.visitors,
        results=found.results,
    )


def _some(
    parser: argparse.ArgumentParser, option: str, text: str | None, known: Sequence[str]
) -> tuple[str, ...] | None:
    """The names in a list with commas, in the order in which they are known."""
    if text is None:
        return None
    names = {name.strip() for name in text.split(",")} - {""}
    unknown = sorted(names - set(known))
    if unknown or not names:
        parser.error(f"{option}: {', '.join(unknown) or 'nothing'} is not one of {', '.join(known)}")
    return tuple(name for name in known if name in names)


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 on")
    return int(text)
