"""TOML text to values and positions.

Rule: ``tomllib`` says what the text means; tree-sitter says where it stands, and
only when a place is asked for or a key stands twice.
"""

from __future__ import annotations

import re
import tomllib
from typing import Final

import tree_sitter_toml
from tree_sitter import Language, Node

from .errors import Problem, StateError
from .positions import MAX_DEPTH, TOO_DEEP, Position, Spot, duplicate_key, end_spot, place, spot_at
from .syntax_tree import SyntaxTree, meaningful

_LANGUAGE: Final = Language(tree_sitter_toml.language())
_CONTAINERS: Final = frozenset({"array", "inline_table"})
_WHERE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_LONG_NUMBER: Final = re.compile(r"[0-9_]{400,}")

# tomllib keeps every prefix of a dotted key while it reads one: a key of 20,000 parts, 40 KB of text, takes
# gigabytes. No hostname has as many labels as this, so a text in quotes is not mistaken for one.
_PART: Final = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_LONG_KEY: Final = re.compile(rf"(?<![\w-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{128}}", re.ASCII)

# What tomllib complains about when a key is given twice, directly or through a dotted key or a header.
_CLASH: Final = re.compile(r"Cannot (overwrite|declare|redefine|mutate)|Duplicate inline")

_NO_END: Final = "a text that starts before this never ends; add the closing quote"
_NO_QUOTE: Final = (
    'the text in this line has no closing quote; one over several lines stands between """ and """'
)

# The start of tomllib's message, and ours. tomllib's own text is never shown: it may quote the file.
_SENTENCES: Final = (
    ("Expected '='", 'a "=" is missing after the key; write key = "value"'),
    ("Invalid value", "this is not a TOML value; put a text in double quotes"),
    (
        "Expected newline",
        "this does not belong to the value before it; put texts in double quotes, one key a line",
    ),
    ("Unterminated string", _NO_END),
    ("Expected \"'", _NO_END),
    ("Invalid statement", 'this is neither a [table] nor a key; write key = "value"'),
    ("Expected ']", "the header of this table has no end; write [name] or [[name]] on one line"),
    ("Unclosed array", 'a "," or a "]" is missing here'),
    ("Unclosed inline table", 'a "," or a "}" is missing here; an inline table stands on one line'),
    (
        "Invalid initial character for a key",
        "a key is wanted here; an inline table is one line without a last comma",
    ),
    ("Unescaped", 'this escape is not known; write "\\\\" for a backslash, or use single quotes'),
    ("Invalid hex value", "this escape needs four digits after \\u, or eight after \\U"),
    ("Escaped character", "this escape is not a character; remove it"),
    ("Illegal character '\\n'", _NO_QUOTE),
    ("Found invalid character '\\n'", _NO_QUOTE),
    ("Illegal character", "this character may not stand here; write an escape such as \\n"),
    ("Found invalid character", "this character may not stand in a TOML file; remove it"),
    ("Invalid date", "this is not a date; put a text in double quotes"),
    ("Cannot", "this key or table is already there, or clashes with one above; keep one"),
    ("Duplicate", "this key is already there; keep one"),
)


def read_toml(text: str, *, file: str) -> dict[str, object]:
    """The value of the text.

    :raises StateError: with the syntax error, or with every key that stands twice.
    """
    long_key = _LONG_KEY.search(text)
    if long_key is not None:
        spot = spot_at(text, long_key.start())
        raise StateError(
            [Problem(place(file, spot), "this dotted key has too many parts; write a shorter one")]
        )
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StateError(_explain(str(error), text, file=file)) from None
    except RecursionError:
        spot = SyntaxTree(text, _LANGUAGE).too_deep(_CONTAINERS)
        raise StateError([Problem(place(file, spot), TOO_DEEP)]) from None
    except ValueError:  # Python refuses to convert more than 4300 digits
        match = _LONG_NUMBER.search(text)
        spot = spot_at(text, match.start()) if match else (1, 1)
        message = "this number has too many digits; if it is a text, put it in double quotes"
        raise StateError([Problem(place(file, spot), message)]) from None


def toml_positions(text: str) -> Position:
    """Where everything in a text that ``read_toml`` accepted stands."""
    return _Builder(SyntaxTree(text, _LANGUAGE)).root


def _explain(error: str, text: str, *, file: str) -> list[Problem]:
    if _CLASH.match(error):
        found = _Builder(SyntaxTree(text, _LANGUAGE)).duplicates
        if found:
            return [duplicate_key(file, key, first, second) for key, first, second in found]
    where = _WHERE.search(error)
    spot = (int(where[1]), int(where[2])) if where is not None and where[1] else end_spot(text)
    message = next((ours for theirs, ours in _SENTENCES if error.startswith(theirs)), "this is not TOML")
    return [Problem(place(file, spot), message)]


class _Builder:
    """Walks the statements of a document in order, as TOML defines tables: by header, by dots, in line."""

    def __init__(self, tree: SyntaxTree) -> None:
        self._tree = tree
        self._closed: set[Position] = set()  # tables that may not be declared again, and plain values
        self.duplicates: list[tuple[str, Spot, Spot]] = []
        self.root = Position((1, 1))
        for statement in meaningful(tree.root):
            match statement.type:
                case "pair":
                    self._pair(self.root, statement, depth=0)
                case "table" | "table_array_element":
                    self._table(statement)
                case _:
                    pass  # what tree-sitter could not make out keeps the place of what is around it

    def _table(self, statement: Node) -> None:
        header, *pairs = meaningful(statement)
        *outer, (name, spot) = self._parts(header)
        parent = self._descend(self.root, outer)
        there = parent.child(name)
        is_element = statement.type == "table_array_element"
        if there is None:
            there = self._insert(parent, name, spot, Position(self._tree.spot(statement)))
        elif there in self._closed or there.is_list is not is_element:
            self._report(parent, name, spot)
        table = there
        if is_element:
            table = Position(self._tree.spot(statement))
            there.append(table)
        else:
            self._closed.add(there)
        for pair in pairs:
            if pair.type == "pair":
                self._pair(table, pair, depth=0)

    def _pair(self, table: Position, pair: Node, *, depth: int) -> None:
        named = list(meaningful(pair))
        if len(named) != 2:
            return
        *outer, (name, spot) = self._parts(named[0])
        parent = self._descend(table, outer)
        self._report(parent, name, spot)
        self._insert(parent, name, spot, self._value(named[1], depth=depth))

    def _value(self, node: Node, *, depth: int) -> Position:
        position = Position(self._tree.spot(node))
        if depth > MAX_DEPTH:
            return position
        match node.type:
            case "array":
                for item in meaningful(node):
                    position.append(self._value(item, depth=depth + 1))
            case "inline_table":
                for pair in meaningful(node):
                    if pair.type == "pair":
                        self._pair(position, pair, depth=depth + 1)
            case _:
                pass
        self._closed.add(position)
        return position

    def _descend(self, table: Position, parts: list[tuple[str, Spot]]) -> Position:
        at = table
        for name, spot in parts:
            inner = at.child(name)
            if inner is None:
                inner = self._insert(at, name, spot, Position(spot))
            else:
                inner = inner.child(-1) or inner  # a header continues the last element of a list
            at = inner
        return at

    def _report(self, parent: Position, name: str, spot: Spot) -> None:
        first = parent.key(name)
        if first is not None:
            self.duplicates.append((name, first, spot))

    def _insert(self, parent: Position, name: str, spot: Spot, position: Position) -> Position:
        parent.put(name, spot, position)
        return position

    def _parts(self, key: Node) -> list[tuple[str, Spot]]:
        if key.type == "dotted_key":
            # The grammar nests to the left without a limit, so this may not recurse.
            leaves: list[Node] = []
            pending = [key]
            while pending:
                node = pending.pop()
                if node.type == "dotted_key":
                    pending.extend(reversed(node.named_children))
                else:
                    leaves.append(node)
        else:
            leaves = [key]
        return [(self._name(leaf), self._tree.spot(leaf)) for leaf in leaves]

    def _name(self, leaf: Node) -> str:
        text = self._tree.text(leaf)
        if leaf.type == "bare_key":
            return text
        try:
            return next(iter(tomllib.loads(f"{text} = 0")))
        except ValueError:
            return text
