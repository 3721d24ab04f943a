"""The lines that a busy agent writes most, made in a few microseconds.

Rule: a line made here is, byte for byte, the one that ``logs`` would make of the same
values. Whatever needs a closer look, be it a secret's name, a nested value, a number that
JSON may write in two ways, or a text of unusual length, is not made here: there is
no line then, and the long way makes it.

A visitor costs a line on each side. Most of its values are names that were in the line
before, or numbers, or addresses; taking each of them through ``redact`` and a serializer
cost as much as all the rest of a short connection.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from pydantic_core import to_json

from .redaction import is_secret_name, redact_text

# Nothing that `redact` could know a secret by is as short and made of these alone; JSON escapes none of them.
_ADDRESS: Final = re.compile(r"[0-9a-f.:\[\]]{1,59}")
_LONGEST: Final = 60  # characters of a text that is worth remembering
_MOST_VALUES: Final = 100  # `redact` leaves some out when there are very many
_EXACT: Final = 2**53  # whole numbers up to here are written in one way
_MOST_KNOWN: Final = 1024
_KNOWN: Final[dict[str, str]] = {}  # texts that were in a line lately, as JSON
_NANOSECONDS: Final = 1_000_000_000

# These are for the long way: they come first in a line, or are an exception.
_RESERVED: Final = frozenset({"timestamp", "level", "logger", "event", "exc_info", "exception", "stack"})


def plain_line(
    level: str, logger: str, event: object, bound: Mapping[str, object], said: Mapping[str, object]
) -> str | None:
    """The line of an event, with what was bound before what was said; None if it takes the long way."""
    values = {**bound, **said} if bound else said
    try:
        shape = _shape(level, logger, event, *values)
        known: Callable[[Any], str | None] = _KNOWN.get  # only texts are: of anything else, it is None
        return shape % (timestamp(), *[known(value) or _value(value) for value in values.values()])
    except Exception:  # noqa: BLE001 - what it is, and what to say instead, is for the long way to find out
        return None


@lru_cache(maxsize=256)
def _shape(level: str, logger: str, event: object, *names: str) -> str:
    """What lines have in common that say the same of other things, with a ``%s`` for each value."""
    if type(event) is not str or len(names) > _MOST_VALUES or not _RESERVED.isdisjoint(names):
        raise _NotPlainError
    if any(is_secret_name(name) or redact_text(name) != name for name in names):
        raise _NotPlainError
    said = {"level": level, "logger": logger, "event": redact_text(event)}
    constant = ",".join(
        f"{_quoted(name)}:{_quoted(text)}" for name, text in said.items() if text or name != "logger"
    )
    variable = "".join(f",{_quoted(name).replace('%', '%%')}:%s" for name in names)
    return f'{{"timestamp":"%s",{constant.replace("%", "%%")}{variable}}}'


def _value(value: object) -> str:
    """A value as JSON."""
    if value is None:
        return "null"
    if type(value) is str:
        return _text(value)
    if (type(value) is int and -_EXACT < value < _EXACT) or (
        type(value) is float and (0.001 <= value < _EXACT or value == 0.0)
    ):
        return repr(value)
    raise _NotPlainError


def _text(text: str) -> str:
    """A text as JSON. What is no address is likely to come again."""
    if _ADDRESS.fullmatch(text):
        return f'"{text}"'
    said = _quoted(redact_text(text))
    if len(text) < _LONGEST:
        if len(_KNOWN) >= _MOST_KNOWN:  # by visitors who think of host names, say
            _KNOWN.clear()
        _KNOWN[text] = said
    return said


def timestamp() -> str:
    """The time now, UTC, as RFC 3339 writes it, to the microsecond."""
    seconds, nanoseconds = divmod(time.time_ns(), _NANOSECONDS)
    return f"{_second(seconds)}.{nanoseconds // 1000:06}Z"


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    """All lines of a second begin with the same."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _quoted(text: str) -> str:
    return to_json(text).decode()


class _NotPlainError(Exception):
    """Something that goes the long way."""
