"""wrk: its command line, and what it prints.

Rule: a load in which a request was answered with an error is no measurement. Connections that broke are
counted by wrk and do not end it; they are told of beside the figure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_SCALE: Final = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6}  # to milliseconds
_PERCENTILE: Final = re.compile(r"^\s+(50|75|90|99)%\s+([\d.]+)(us|ms|s|m|h)\s*$", re.MULTILINE)
_AVERAGE: Final = re.compile(r"^\s+Latency\s+([\d.]+)(us|ms|s|m|h)\s", re.MULTILINE)
_TOTAL: Final = re.compile(r"^\s+(\d+) requests in ", re.MULTILINE)
_RATE: Final = re.compile(r"^Requests/sec:\s+([\d.]+)\s*$", re.MULTILINE)
_ERRORS: Final = re.compile(r"^\s+Socket errors: (.+)$", re.MULTILINE)
_REFUSED: Final = re.compile(r"^\s+Non-2xx or 3xx responses: (\d+)\s*$", re.MULTILINE)


class WrkError(Exception):
    """What wrk printed is no measurement; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrkResult:
    """One run.

    :param average: mean latency, in milliseconds.
    :param percentiles: 50, 75, 90 and 99 -> milliseconds.
    :param socket_errors: ``connect``, ``read``, ``write`` and ``timeout`` -> how many, where there were any.
    """

    rate: float
    requests: int
    average: float
    percentiles: dict[int, float]
    socket_errors: dict[str, int]


def wrk_command(
    program: str, url: str, *, connections: int, seconds: float, keep_alive: bool = True
) -> list[str]:
    """One thread: on a machine of few cores a second one takes its time from what is measured."""
    command = [program, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"]
    return [*command, *(() if keep_alive else ("-H", "Connection: close")), url]


def parse_wrk(text: str) -> WrkResult:
    """:raises WrkError: if there is no result in it, or one of failed requests."""
    total, rate, average = _TOTAL.search(text), _RATE.search(text), _AVERAGE.search(text)
    if total is None or rate is None or average is None:
        raise WrkError(f"wrk gave no result: {text.strip() or 'it printed nothing'}")
    if refused := _REFUSED.search(text):
        raise WrkError(f"{refused[1]} of {total[1]} requests were answered with an error")
    if not int(total[1]):
        raise WrkError("not one request was answered")
    errors = _ERRORS.search(text)
    counts = dict(word.split(" ") for word in errors[1].split(", ")) if errors else {}
    return WrkResult(
        rate=float(rate[1]),
        requests=int(total[1]),
        average=_milliseconds(average[1], average[2]),
        percentiles={int(p): _milliseconds(value, unit) for p, value, unit in _PERCENTILE.findall(text)},
        socket_errors={kind: int(count) for kind, count in counts.items() if int(count)},
    )


def _milliseconds(number: str, unit: str) -> float:
    return float(number) * _SCALE[unit]
