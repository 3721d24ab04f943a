"""iperf3: its command line, and the JSON it prints.

Rule: what counts is what the receiving end took, never what the sending end got rid of: a tunnel's buffers
would count as speed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any


class IperfError(Exception):
    """What iperf3 printed is no measurement; the message says why."""


class IperfBusyError(IperfError):
    """The server still ends the measurement before this one: it serves one at a time."""


class Way(Enum):
    """Which way the bytes go, seen from the visitor."""

    UPLOAD = "upload"
    DOWNLOAD = "download"


@dataclass(frozen=True, slots=True, kw_only=True)
class IperfResult:
    """What came through.

    :param received: bytes that count.
    :param beginning: bits a second in the time that does not count, as this end saw it; None without any.
    """

    received: float
    bits_per_second: float
    beginning: float | None = None


def iperf_command(program: str, address: str, way: Way, *, seconds: float, uncounted: int = 0) -> list[str]:
    """One stream.

    :param uncounted: so many seconds run before those that count.
    """
    host, _, port = address.rpartition(":")
    command = [program, "-c", host, "-p", port, "-t", f"{max(1, round(seconds))}", "-J"]
    command += ["-O", f"{uncounted}"] if uncounted else []
    command += ["-R"] if way is Way.DOWNLOAD else []
    return command


def parse_iperf(text: str) -> IperfResult:
    """:raises IperfError: if it says that it failed, or says nothing that can be read."""
    try:
        result: Any = json.loads(text)
        if "error" in result:
            raise (IperfBusyError if "busy" in result["error"] else IperfError)(f"iperf3: {result['error']}")
        total = result["end"]["sum_received"]
        found = IperfResult(
            received=float(total["bytes"]),
            bits_per_second=float(total["bits_per_second"]),
            beginning=_beginning([interval["sum"] for interval in result.get("intervals", [])]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise IperfError(f"iperf3 gave no result: {text.strip()[:200] or 'it printed nothing'}") from error
    if not found.received:
        raise IperfError("not one byte came through")
    return found


def _beginning(sums: list[Any]) -> float | None:
    omitted = [one for one in sums if one["omitted"]]
    seconds = sum(float(one["seconds"]) for one in omitted)
    return sum(float(one["bytes"]) for one in omitted) * 8 / seconds if seconds else None
