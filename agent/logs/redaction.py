"""Taking secrets out of what is about to be logged.

Rule: whatever goes into :func:`redact` comes out as plain values of JSON that
hold no key material, however deep it was buried: as text, as bytes, in the repr
of an object, cut in half, or in the words of an exception. It never raises, and
what it costs has a bound whatever it is given.

It errs on the side of hiding. What it knows a secret by: a PEM block; a long run
of base64, which is a line out of the middle of one; bytes that are no text; a
value under a key, or after a word in a text, that is called like a secret; the
password in a URL.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence, Set
from datetime import date, time
from enum import Enum
from functools import lru_cache
from itertools import islice
from typing import Final, TypeAlias

Plain: TypeAlias = str | int | float | bool | list["Plain"] | dict[str, "Plain"] | None

HIDDEN: Final = "[redacted]"
_LEFT_OUT: Final = "…"

# A visitor can make us log what it sent; nobody needs more of it than this.
_LONGEST: Final = 8_192  # characters of one text
_LOOKED_AT: Final = 2 * _LONGEST  # before the rules, which mostly make a text shorter
_MOST_VALUES: Final = 1_000  # in one line
_DEEPEST: Final = 6

# "key" alone is not on the list: a reconciled resource has a key, and key material is known by its form.
_SECRET_NAME: Final = re.compile(
    r"pass(?:word|wd|phrase)|secret|token|authorization|cookie|credential|(?:^|[_-])pem$"
    r"|(?:private|api|tls|session|signing|access|auth)[_-]?key",
    re.IGNORECASE,
)

# A block, or what is left of one: to its last line if that is there, otherwise to the end of the text.
_PEM: Final = re.compile(r"-----BEGIN [^-]{1,64}-----.*?(?:-----END [^-]{1,64}-----|\Z)", re.DOTALL)
_TORN: Final = re.compile(r"-----(?:BEGIN|END) [^-]{1,64}-----")
# Lines from the middle of one, which PEM wraps at 64; before and after it there may be shorter ones. The end
# of a line may also be spelled out, as in a repr or in JSON. All repeats are bounded, so no text is slow.
_LINE_END: Final = r"[ \t]{0,40}(?:\\[rn]|[\r\n]){1,4}[ \t]{0,40}"
_RUN: Final = re.compile(
    rf"(?:[A-Za-z0-9+/_-]{{1,76}}{_LINE_END})?"
    r"(?P<run>[A-Za-z0-9+/_-]{60,}={0,2})"
    rf"(?:{_LINE_END}[A-Za-z0-9+/_-]{{1,76}}={{0,2}})*"
)
_RUN_CHARACTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-="
_SHORTEST_RUN: Final = 60
_HEADER: Final = re.compile(r"((?:proxy-)?authorization|(?:set-)?cookie)(\s*[:=]\s*)[^\r\n]+", re.IGNORECASE)
_ASSIGNMENT: Final = re.compile(
    r"(pass(?:word|wd|phrase)|secret|token|(?:private|api|access|auth)[_-]?key)"
    r"([\"']?\s*[:=]\s*)(?:b?\"[^\"]*\"|b?'[^']*'|[^\s,;&)}\]]+)",
    re.IGNORECASE,
)
_URL: Final = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")
# One of these is in every text that those three change, and a colon or an equals sign.
_WORTH_A_LOOK: Final = ("://", "key", "pass", "token", "secret", "cookie", "authorization")


def redact(value: object) -> Plain:
    """The value without secrets, as something JSON can say."""
    try:
        return _Walk().redact(value, _DEEPEST)
    except Exception:  # noqa: BLE001 - a mapping, say, that raises when it is iterated
        return _cannot_be_shown(value)


def redact_text(text: str) -> str:
    """The text without secrets, and not endless."""
    length = len(text)
    if length > _LOOKED_AT:
        # The rest of a run that the cut went through could be too short to be known as one.
        text = text[:_LOOKED_AT].rstrip(_RUN_CHARACTERS)
    if "-----BEGIN " in text:
        text = _PEM.sub(HIDDEN, text)
    if length >= _SHORTEST_RUN:
        text = _RUN.sub(_hide_key_material, text)
    if (":" in text or "=" in text) and _is_worth_a_look(text):
        text = _HEADER.sub(rf"\1\2{HIDDEN}", text)
        text = _ASSIGNMENT.sub(rf"\1\2{HIDDEN}", text)
        text = _URL.sub(rf"\1{HIDDEN}@", text)
    if length > _LOOKED_AT or len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}{_LEFT_OUT} ({length} characters)"
    return text


def _is_worth_a_look(text: str) -> bool:
    return any(map(text.casefold().__contains__, _WORTH_A_LOOK))


@lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    """Whether what is kept under this name should not be shown."""
    return _SECRET_NAME.search(name) is not None


@lru_cache(maxsize=1024)
def _look_at_name(name: str) -> tuple[str, bool]:
    """How to show a name, and whether what is kept under it is shown."""
    return redact_text(name), is_secret_name(name)


def _hide_key_material(run: re.Match[str]) -> str:
    """Random base64 has capitals, small letters and digits; a digest in hexadecimal and most paths do not."""
    is_mixed = (
        any("A" <= character <= "Z" for character in run["run"])
        and any("g" <= character <= "z" for character in run["run"])
        and any("0" <= character <= "9" for character in run["run"])
    )
    return HIDDEN if is_mixed else run.group()


class _Walk:
    """One value, all the way down, within a budget."""

    def __init__(self) -> None:
        self._left = _MOST_VALUES

    def redact(self, value: object, depth: int) -> Plain:
        self._left -= 1
        if type(value) is str:  # this and the next are told apart sooner than below
            return redact_text(value)
        if type(value) is dict and depth:
            return self._redact_mapping(value, depth)
        match value:
            case Enum():  # before str and int, which it may also be
                return self.redact(value.value, depth)
            case str():
                return redact_text(value)
            case None | bool() | int():
                return value
            case float():
                return value if math.isfinite(value) else str(value)  # JSON knows no infinity
            case bytes() | bytearray() | memoryview():
                return _redact_bytes(bytes(value))
            case date() | time():
                return value.isoformat()
            case Mapping() | Sequence() | Set() if depth == 0:
                return _LEFT_OUT
            case Mapping():
                return self._redact_mapping(value, depth)
            case Sequence() | Set():
                return self._redact_items(value, depth)
            case _:
                return redact_text(_said_by(value))

    def _redact_mapping(self, mapping: Mapping[object, object], depth: int) -> Plain:
        plain: dict[str, Plain] = {}
        for key, value in mapping.items():
            if self._left <= 0:
                plain[_LEFT_OUT] = len(mapping) - len(plain)
                break
            shown, is_secret = _look_at_name(key if type(key) is str else _name_of(key))
            if is_secret and value not in (None, ""):
                plain[shown] = HIDDEN
            elif type(value) is str and value.isidentifier() and len(value) < _SHORTEST_RUN:
                self._left -= 1  # most values are a word or a number, and need no closer look
                plain[shown] = value
            elif value is None or type(value) is int:
                self._left -= 1
                plain[shown] = value
            else:
                plain[shown] = self.redact(value, depth - 1)
        return plain

    def _redact_items(self, items: Sequence[object] | Set[object], depth: int) -> Plain:
        if any(isinstance(item, str) and _is_torn(item) for item in islice(items, _MOST_VALUES)):
            return [HIDDEN]  # a block, one line an item
        plain: list[Plain] = []
        for item in islice(items, max(self._left, 0)):
            if self._left <= 0:
                break
            plain.append(self.redact(item, depth - 1))
        left_out = len(items) - len(plain)
        return [*plain, f"{_LEFT_OUT} ({left_out} more)"] if left_out else plain


def _name_of(key: object) -> str:
    return str(key) if isinstance(key, str) else _said_by(key)


def _is_torn(text: str) -> bool:
    return len(_TORN.findall(text[:_LOOKED_AT])) % 2 == 1


def _redact_bytes(data: bytes) -> str:
    try:
        return redact_text(data.decode("utf-8"))
    except UnicodeDecodeError:
        return f"<{len(data)} bytes>"  # it may be a key in DER


def _said_by(value: object) -> str:
    try:
        return str(value) if isinstance(value, BaseException) else repr(value)
    except Exception:  # noqa: BLE001 - an object that cannot describe itself must not stop the line about it
        return _cannot_be_shown(value)


def _cannot_be_shown(value: object) -> str:
    return f"<{type(value).__name__} that cannot be shown>"
