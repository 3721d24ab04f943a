from __future__ import annotations

import tree_sitter_json
from hypothesis import given
from hypothesis import strategies as st
from tree_sitter import Language

from schemas.syntax_tree import SyntaxTree, meaningful

JSON = Language(tree_sitter_json.language())


@given(st.lists(st.text(st.characters(codec="utf-8", categories=["L", "So"]), max_size=5), min_size=1))
def test_a_spot_counts_characters_where_tree_sitter_counts_bytes(words: list[str]) -> None:
    text = "[" + ", ".join(f'"{word}"' for word in words) + "]"
    tree = SyntaxTree(text, JSON)
    (array,) = meaningful(tree.root)
    for node, word in zip(meaningful(array), words, strict=True):
        line, col = tree.spot(node)
        assert line == 1
        assert text.startswith(f'"{word}"', col - 1)
        assert tree.text(node) == f'"{word}"'


def test_comments_mean_nothing() -> None:
    tree = SyntaxTree('["a", // b\n"c"]', JSON)
    (array,) = meaningful(tree.root)
    assert [tree.text(node) for node in meaningful(array)] == ['"a"', '"c"']


def test_the_first_container_beyond_the_greatest_depth_is_found_without_recursion() -> None:
    containers = frozenset({"array"})
    assert SyntaxTree("[" * 50_000 + "]" * 50_000, JSON).too_deep(containers) == (1, 65)
    assert SyntaxTree("[1]", JSON).too_deep(containers) == (1, 1)
