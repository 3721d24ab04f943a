"""How a message quotes what it found in a file.

Rule: no message shows a value in any other way. What is shown is short, prints
on one line of any terminal, and is never key material.
"""

from __future__ import annotations

from typing import Final

PEM_START: Final = "-----BEGIN "

# Enough for a host name or an address; a longer text is recognized by its start.
_LONGEST: Final = 80


def quote(text: str) -> str:
    """The text in double quotes, shortened and with unprintable characters escaped."""
    if PEM_START.strip() in text:
        return "a PEM text"
    shown = text if len(text) <= _LONGEST else text[:_LONGEST]
    escaped = "".join(_escape(character) for character in shown)
    return f'"{escaped}"' if shown is text else f'"{escaped}…"'


def describe(value: object) -> str:
    """What a value from a file is, in words: ``the number 22``, ``the text "x"``, ``a list``."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float() if abs(value) < 10**15:  # Python refuses to print the longest integers
            return f"the number {value}"
        case str() if PEM_START not in value:
            return f"the text {quote(value)}"
        case _:
            return kind(value)


def kind(value: object) -> str:
    """What kind of thing a value from a file is, without showing it."""
    match value:
        case None:
            return "no value"
        case bool():
            return "a truth value"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list() | tuple():
            return "a list" if value else "an empty list"
        case dict():
            return "a mapping" if value else "an empty mapping"
        case _:
            return "a date or time"  # the only other values TOML knows


def _escape(character: str) -> str:
    if character == '"':
        return '\\"'
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")
