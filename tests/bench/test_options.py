"""What the command line may say."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from .options import RESULTS, Options, parse_options

FAMILIES: Final = ("keepalive", "iperf", "memory")
SYSTEMS: Final = ("direct", "haproxy", "tidegate")


def parsed(*arguments: str) -> Options:
    return parse_options(arguments, families=FAMILIES, systems=SYSTEMS)


def test_nothing_said_is_everything_measured() -> None:
    options = parsed()

    assert (options.families, options.systems, options.results) == (FAMILIES, None, RESULTS)
    assert min(options.rounds, options.seconds, options.visitors) >= 1


def test_what_is_said_is_done() -> None:
    options = parsed(
        *("--rounds", "5", "--seconds", "4", "--visitors", "9", "--results", "here"),
        *("--only", "iperf, keepalive", "--systems", "tidegate,haproxy"),
    )

    assert (options.rounds, options.seconds, options.visitors, options.results) == (5, 4, 9, Path("here"))
    assert options.families == ("keepalive", "iperf")
    assert options.systems == ("haproxy", "tidegate")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "keepalive,speed"), "speed is not one of keepalive, iperf, memory"),
        (("--only", ","), "nothing is not one of"),
        (("--systems", "ssh"), "ssh is not one of direct, haproxy, tidegate"),
        (("--rounds", "0"), "0 is not a whole number from 1 on"),
        (("--seconds", "1.5"), "1.5 is not a whole number"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_measured(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(*arguments)

    assert ended.value.code == 2
    assert words in capsys.readouterr().err
