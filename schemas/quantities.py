"""Durations and sizes: a number that carries its unit.

Rule: a bare number is never a duration or a size. ``30`` of what?
"""

from __future__ import annotations

import re
from typing import Final

from .quoting import quote

NUMBER: Final = r"[0-9]{1,18}(?:\.[0-9]{1,18})?"
_QUANTITY: Final = re.compile(rf"({NUMBER}) ?([A-Za-z]*)")
SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES: Final = {
    "B": 1,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
}
# A timer of more than a year is a slip of the keyboard, and some event loops overflow on it.
_LONGEST_SECONDS: Final = 365 * 24 * 3600.0


def parse_duration(text: str) -> float:
    """``200ms``, ``30s``, ``1.5m``, ``2h`` in seconds.

    :raises ValueError: if it is anything else, or more than a year.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in SECONDS:
        if match is not None and not match[2]:
            raise ValueError(
                f'{quote(text)} has no unit; write "{text}s" for seconds (ms, s, m and h are known)'
            )
        raise ValueError(f'{quote(text)} is not a duration; write a number and a unit, for example "30s"')
    seconds = float(match[1]) * SECONDS[match[2]]
    if seconds > _LONGEST_SECONDS:
        raise ValueError(f"{quote(text)} is more than a year; write at most 8760h")
    return seconds


def spell_duration(seconds: float) -> str:
    """The duration as a file may write it, in the largest unit that holds it whole: ``15s``, ``5m``."""
    milliseconds = round(seconds * 1000)
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def parse_size(text: str) -> int:
    """``512B``, ``64KiB``, ``10MiB``, ``1.5GB`` in bytes.

    :raises ValueError: if it is anything else, or not a whole number of bytes.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in _BYTES:
        if match is not None and not match[2]:
            raise ValueError(f'{quote(text)} has no unit; write "{text}MiB" or "{text}B"')
        raise ValueError(f'{quote(text)} is not a size; write a number and a unit, for example "10MiB"')
    unit = _BYTES[match[2]]
    size = float(match[1]) * unit if "." in match[1] else int(match[1]) * unit
    if size != int(size):
        raise ValueError(f"{quote(text)} is not a whole number of bytes; write it in a smaller unit")
    return int(size)
