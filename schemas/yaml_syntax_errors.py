"""A YAML syntax error in our own words.

Rule: PyYAML says what its parser was doing, in several lines and in the terms of
the grammar; here that becomes one sentence that says what to write. Source text
is not quoted, because it may be a key. Both of PyYAML's parsers are understood:
they name the same mistakes differently.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

import yaml

from .errors import Problem
from .positions import Spot, place

# A state file is full of both, and both mean something else in YAML until they are quoted.
_BRACKETED_ADDRESS: Final = re.compile(r"(?<![\"'])\[[0-9A-Fa-f:.%]*:[0-9A-Fa-f:.%]*\]:\d")

_QUOTE_ADDRESS: Final = 'an address that starts with "[" must be in quotes, for example "[::]:443"'


class _Mistake:
    """What PyYAML reported, with the marks as spots and the lines of the text."""

    def __init__(self, error: yaml.MarkedYAMLError, text: str) -> None:
        self.context = error.context or ""
        self.problem = error.problem or ""
        # The parsers disagree about the place of the end of a file; the last line is the one to look at.
        self.lines = text.split("\n")
        mark = error.problem_mark or error.context_mark
        self.at = self._spot(mark) if mark is not None else (1, 1)
        self.began = self._spot(error.context_mark) if error.context_mark is not None else self.at

    def character(self) -> str:
        """The character at the place of the mistake, empty at the end of a line."""
        line, col = self.at
        return self.lines[line - 1][col - 1 : col]

    def find(self, pattern: re.Pattern[str]) -> Spot | None:
        """Where the pattern stands in one of the lines that are to blame."""
        for line in (self.at[0], self.began[0]):
            match = pattern.search(self.lines[line - 1])
            if match is not None:
                return line, match.start() + 1
        return None

    def _spot(self, mark: yaml.Mark) -> Spot:
        line = min(mark.line, len(self.lines) - 1)
        col = min(mark.column, len(self.lines[line])) if mark.line == line else len(self.lines[line])
        return line + 1, col + 1


_Sentence: TypeAlias = Callable[[_Mistake], tuple[Spot, str]]


def explain(error: yaml.YAMLError, text: str, *, file: str) -> Problem:
    """The problem that an error of PyYAML stands for."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return Problem(
            place(file, (1, 1)), "this is not a YAML text; write one, or name the file after its syntax"
        )
    mistake = _Mistake(error, text)
    for pattern, sentence in _SENTENCES:
        if pattern.search(f"{mistake.context}: {mistake.problem}"):
            spot, message = sentence(mistake)
            return Problem(place(file, spot), message)
    return Problem(place(file, mistake.at), "this is not YAML; check the indentation and the quotes")


def _starts_no_text(mistake: _Mistake) -> tuple[Spot, str]:
    character = mistake.character()
    if character == "\t":
        return mistake.at, "a tab may not indent a line in YAML; write spaces"
    return mistake.at, f'a text that starts with "{character}" must be in quotes'


def _starts_with_star(mistake: _Mistake) -> tuple[Spot, str]:
    if "anchor" in mistake.context:
        return mistake.began, 'a text that starts with "&" must be in quotes'
    return mistake.began, 'a text that starts with "*" must be in quotes, for example "*.example.com"'


def _missing_value(mistake: _Mistake) -> tuple[Spot, str]:
    bracketed = mistake.find(_BRACKETED_ADDRESS)
    if bracketed is not None:
        return bracketed, _QUOTE_ADDRESS
    if mistake.character() in ("]", "}", ",", ":"):
        return (
            mistake.at,
            f'a value is missing before this "{mistake.character()}"; write it, or put the text in quotes',
        )
    return mistake.at, "a value is missing here; check that every bracket is closed"


def _not_in_mapping(mistake: _Mistake) -> tuple[Spot, str]:
    bracketed = mistake.find(_BRACKETED_ADDRESS)
    if bracketed is not None:
        return bracketed, _QUOTE_ADDRESS
    return mistake.at, (
        f"this does not belong to the mapping that starts in line {mistake.began[0]}; "
        "check the indentation and the quotes"
    )


def _not_in_list(mistake: _Mistake) -> tuple[Spot, str]:
    return mistake.at, (
        f'this does not belong to the list that starts in line {mistake.began[0]}; write "- " before it, '
        "or check the indentation"
    )


def _unclosed(bracket: str, what: str) -> _Sentence:
    def sentence(mistake: _Mistake) -> tuple[Spot, str]:
        return mistake.at, (
            f'a "," or a "{bracket}" is missing here in the {what} that starts in line {mistake.began[0]}'
        )

    return sentence


def _at(message: str) -> _Sentence:
    return lambda mistake: (mistake.at, message)


def _where_it_began(message: str) -> _Sentence:
    return lambda mistake: (mistake.began, message)


def _table(*rows: tuple[str, _Sentence]) -> tuple[tuple[re.Pattern[str], _Sentence], ...]:
    return tuple((re.compile(pattern), sentence) for pattern, sentence in rows)


# Matched against "context: problem", first match wins. Where two words are joined
# by a bar, the first is libyaml's and the second that of the parser in Python.
_SENTENCES: Final = _table(
    (r"cannot start any token", _starts_no_text),
    (r"found a tab character", _at("a tab may not indent a line in YAML; write spaces")),
    (r"scanning an (alias|anchor)", _starts_with_star),
    (
        r"mapping values are not allowed",
        _at('a ":" is not allowed here; put the text in quotes, or check the indentation of this line'),
    ),
    (
        r"(block )?sequence entries are not allowed",
        _at("a list may not start here; begin it on the next line, or put the text in quotes"),
    ),
    (
        r"could not find expected ':'",
        _where_it_began('this line has no ":" after its key, or is not indented enough'),
    ),
    (
        r"quoted scalar: found unexpected (end|document)",
        _where_it_began("the quoted text that starts here never ends; add the closing quote"),
    ),
    (
        r"quoted scalar: .*(escape|expected hex)",
        _at('this escape is not known; write "\\\\" for a backslash, or use single quotes'),
    ),
    (r"flow node|block node", _missing_value),
    (r"parsing a flow sequence", _unclosed("]", "list")),
    (r"parsing a flow mapping", _unclosed("}", "mapping")),
    (r"parsing a block mapping", _not_in_mapping),
    (r"parsing a block collection", _not_in_list),
    (
        r"undefined tag handle|scanning a tag|parsing a tag|%TAG",
        _at('a tag is not supported; remove it, or put a text that starts with "!" in quotes'),
    ),
    (
        r"document start",
        _at("this does not belong to the document above it; check the indentation and the quotes"),
    ),
    (r"found unexpected ':'", _at('a space is missing after the ":" here, or the text needs quotes')),
    (
        r"incompatible YAML document|directive",
        _where_it_began("this directive is not supported; remove the line"),
    ),
    (r"scanning a block scalar", _at('the text after "|" or ">" begins on the next line')),
)
