"""JSON text to values and positions.

Rule: ``json`` says what the text means; tree-sitter says where it stands, and
only when a place is asked for or a key stands twice. What RFC 8259 does not
know (NaN, Infinity) is refused.
"""

from __future__ import annotations

import json
import re
from typing import Final

import tree_sitter_json
from tree_sitter import Language, Node

from .errors import Problem, StateError
from .positions import MAX_DEPTH, TOO_DEEP, Position, Spot, duplicate_key, place, spot_at
from .syntax_tree import SyntaxTree, meaningful

_LANGUAGE: Final = Language(tree_sitter_json.language())
_STRING_OR_CONSTANT: Final = re.compile(r'"(?:[^"\\]|\\.)*"|(NaN|-?Infinity)', re.DOTALL)
_STRING_OR_BRACKET: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_LONG_NUMBER: Final = re.compile(r"[0-9]{400,}")

_SENTENCES: Final = (
    ("Expecting value", "a value is missing here; put texts in double quotes, no comma after the last"),
    (
        "Expecting property name",
        "a key in double quotes is wanted here; there is no comma after the last entry",
    ),
    ("Expecting ',' delimiter", 'a "," or a closing bracket is missing here'),
    ("Expecting ':' delimiter", 'a ":" is missing after the key'),
    ("Unterminated string", "the text that starts here never ends; add the closing quote"),
    (
        "Invalid control character",
        "the text before this has no closing quote; add it (and write a line break as \\n, a tab as \\t)",
    ),
    ("Invalid \\", 'this escape is not known; write "\\\\" for a backslash'),
    ("Extra data", "the state ends before this; remove the rest"),
)
# The grammar of tree-sitter does not know "1e+5" and loses its way there; "1e05" is as long.
_STRING_OR_PLUS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|(?<=[eE])\+', re.DOTALL)


def read_json(text: str, *, file: str) -> object:
    """The value of the text.

    :raises StateError: with the syntax error, or with every key that stands twice.
    """
    repeated: list[str] = []
    constants: list[str] = []

    def mapping(pairs: list[tuple[str, object]]) -> dict[str, object]:
        made = dict(pairs)
        if len(made) != len(pairs):
            repeated.append("")
        return made

    try:
        value: object = json.loads(text, object_pairs_hook=mapping, parse_constant=constants.append)
    except json.JSONDecodeError as error:
        raise StateError([_explain(error, text, file=file)]) from None
    except RecursionError:
        raise StateError([Problem(place(file, _too_deep(text)), TOO_DEEP)]) from None
    except ValueError:  # Python refuses to convert more than 4300 digits
        match = _LONG_NUMBER.search(text)
        spot = spot_at(text, match.start()) if match else (1, 1)
        message = "this number has too many digits; if it is a text, put it in double quotes"
        raise StateError([Problem(place(file, spot), message)]) from None
    problems = _constants(text, file=file) if constants else []
    if repeated:
        found = _Builder(text).duplicates
        problems.extend(duplicate_key(file, key, first, second) for key, first, second in found)
    if problems:
        raise StateError(problems)
    return value


def json_positions(text: str) -> Position:
    """Where everything in a text that ``read_json`` accepted stands."""
    return _Builder(text).root


def _constants(text: str, *, file: str) -> list[Problem]:
    problems: list[Problem] = []
    line, line_start, seen = 1, 0, 0  # counted on from match to match: there may be thousands on one line
    for match in _STRING_OR_CONSTANT.finditer(text):
        if match[1]:
            start = match.start(1)
            line += text.count("\n", seen, start)
            line_start = max(line_start, text.rfind("\n", seen, start) + 1)
            seen = start
            spot = (line, start - line_start + 1)
            problems.append(Problem(place(file, spot), f"{match[1]} is not JSON; write a number"))
    return problems


def _too_deep(text: str) -> Spot:
    """The first bracket beyond the limit. tree-sitter is no help: the brackets may never be closed."""
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], 0)
        if depth > MAX_DEPTH:
            return spot_at(text, match.start())
    return (1, 1)


def _explain(error: json.JSONDecodeError, text: str, *, file: str) -> Problem:
    spot = (error.lineno, error.colno)
    if text.startswith(("//", "/*", "#"), error.pos):
        return Problem(
            place(file, spot), "JSON has no comments; remove it, or write the file in YAML or TOML"
        )
    message = next((ours for theirs, ours in _SENTENCES if error.msg.startswith(theirs)), "this is not JSON")
    return Problem(place(file, spot), message)


class _Builder:
    """Recursion ends at ``MAX_DEPTH``; what lies deeper has the place of what is around it."""

    def __init__(self, text: str) -> None:
        understood = _STRING_OR_PLUS.sub(lambda match: "0" if match[0] == "+" else match[0], text)
        self._tree = SyntaxTree(understood, _LANGUAGE)
        self.duplicates: list[tuple[str, Spot, Spot]] = []
        top = next(meaningful(self._tree.root), None)
        self.root = Position((1, 1)) if top is None else self._value(top, depth=0)

    def _value(self, node: Node, *, depth: int) -> Position:
        position = Position(self._tree.spot(node))
        if depth > MAX_DEPTH:
            return position
        match node.type:
            case "array":
                for item in meaningful(node):
                    position.append(self._value(item, depth=depth + 1))
            case "object":
                for pair in meaningful(node):
                    self._pair(position, pair, depth=depth)
            case _:
                pass
        return position

    def _pair(self, position: Position, pair: Node, *, depth: int) -> None:
        key, value = pair.child_by_field_name("key"), pair.child_by_field_name("value")
        if key is None or value is None:
            return
        name: str = json.loads(self._tree.text(key))
        spot = self._tree.spot(key)
        first = position.key(name)
        if first is not None:
            self.duplicates.append((name, first, spot))
        position.put(name, spot, self._value(value, depth=depth + 1))
