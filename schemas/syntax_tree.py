"""tree-sitter's view of a text: where things stand, after another parser has said what they mean.

Rule: no value comes from here. ``tomllib`` and ``json`` read values and keep no
positions; tree-sitter is asked for those, and only when a place is wanted.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from tree_sitter import Language, Node, Parser

from .positions import MAX_DEPTH, Spot

_CONTINUATION_BYTE: Final = re.compile(rb"[\x80-\xbf]")


class SyntaxTree:
    """The syntax tree of a text."""

    def __init__(self, text: str, language: Language) -> None:
        self._bytes = text.encode()
        self._lines = self._bytes.split(b"\n")
        self._continuations: dict[int, list[int]] = {}
        self.root: Node = Parser(language).parse(self._bytes).root_node

    def text(self, node: Node) -> str:
        """The source text of a node."""
        return self._bytes[node.start_byte : node.end_byte].decode()

    def spot(self, node: Node) -> Spot:
        """Where a node starts. tree-sitter counts columns in bytes; a person counts characters."""
        row, byte = node.start_point.row, node.start_point.column
        if row not in self._continuations:
            # Kept per line: a whole file may be one line, and every place in it may be asked for.
            self._continuations[row] = [
                match.start() for match in _CONTINUATION_BYTE.finditer(self._lines[row])
            ]
        return row + 1, byte - bisect_left(self._continuations[row], byte) + 1

    def too_deep(self, containers: frozenset[str]) -> Spot:
        """The first container nested deeper than the limit, or the start of the text if there is none."""
        pending = [(self.root, 0)]
        while pending:
            node, depth = pending.pop()
            depth += node.type in containers
            if depth > MAX_DEPTH:
                return self.spot(node)
            pending.extend((child, depth) for child in reversed(node.named_children))
        return (1, 1)


def meaningful(node: Node) -> Iterator[Node]:
    """The named children of a node that are not comments."""
    return (child for child in node.named_children if child.type != "comment")
