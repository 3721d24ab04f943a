from __future__ import annotations

from typing import Any

from hypothesis import given

from schemas.positions import MAX_DEPTH, Position, duplicate_key, end_spot, spot_at, walk

from .values import JSON_LIKE


def a_list_in_a_mapping() -> Position:
    items = Position((1, 7))
    items.append(Position((2, 3)))
    items.append(Position((3, 3)))
    root = Position((1, 1))
    root.put("list", (1, 1), items)
    return root


def test_a_path_leads_to_a_value_and_with_key_to_its_key() -> None:
    root = a_list_in_a_mapping()
    assert root.find(()) == (1, 1)
    assert root.find(("list",)) == (1, 7)
    assert root.find(("list",), key=True) == (1, 1)
    assert root.find(("list", 1)) == (3, 3)


def test_a_path_that_leads_nowhere_gives_the_deepest_place_on_the_way() -> None:
    root = a_list_in_a_mapping()
    assert root.find(("list", 2)) == (1, 7)
    assert root.find(("list", -3)) == (1, 7)
    assert root.find(("list", 0, "name", 7)) == (2, 3)
    assert root.find(("list", "name"), key=True) == (1, 7)
    assert root.find(("nothing", "list")) == (1, 1)


def test_a_key_given_twice_keeps_its_first_place_and_its_last_value() -> None:
    root = Position((1, 1))
    root.put("a", (1, 1), Position((1, 4)))
    root.put("a", (2, 1), Position((2, 4)))
    assert root.key("a") == (1, 1)
    assert root.find(("a",)) == (2, 4)


def test_lines_and_columns_count_characters_from_one() -> None:
    text = "é\nüx\n"
    assert spot_at(text, 0) == (1, 1)
    assert spot_at(text, 3) == (2, 2)
    assert end_spot(text) == (3, 1)
    assert end_spot("") == (1, 1)


def test_a_key_that_stands_twice_is_reported_with_both_places() -> None:
    assert str(duplicate_key("f", "a", (1, 2), (3, 4))) == (
        'f:3:4: the key "a" stands here a second time; keep one (see f:1:2)'
    )


@given(JSON_LIKE)
def test_a_walk_visits_every_value_under_its_path(value: object) -> None:
    for path, found in walk(value):
        at: Any = value
        for step in path:
            at = at[step]
        assert at is found


def test_a_walk_ends_below_the_greatest_depth() -> None:
    deep: object = "bottom"
    for _ in range(100_000):
        deep = [deep]
    assert max(len(path) for path, _ in walk(deep)) == MAX_DEPTH + 1
