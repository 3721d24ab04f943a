"""YAML 1.2, core schema, by either of PyYAML's parsers."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import StateError
from schemas.yaml_text import LOADERS, read_yaml, read_yaml_value, yaml_positions

from .values import JSON_LIKE

by_either_parser = pytest.mark.parametrize("loader", LOADERS, ids=lambda loader: loader.__name__)


def value_of(text: str, loader: type[Any] = LOADERS[0]) -> object:
    return read_yaml(text, file="a.yaml", loader=loader)[0]


def problems_of(text: str, loader: type[Any] = LOADERS[0]) -> str:
    with pytest.raises(StateError) as caught:
        read_yaml(text, file="a.yaml", loader=loader)
    return str(caught.value)


@by_either_parser
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("22:22", "22:22"),
        ("1:30:00", "1:30:00"),
        ("on", "on"),
        ("yes", "yes"),
        ("No", "No"),
        ("off", "off"),
        ("y", "y"),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("tRUE", "tRUE"),
        ("null", None),
        ("~", None),
        ("", None),
        ("nULL", "nULL"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("+12", 12),
        ("-7", -7),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("-.inf", -math.inf),
        (".INF", math.inf),
        ("1.2.3", "1.2.3"),
        ("192.0.2.1", "192.0.2.1"),
        ("2024-01-31", "2024-01-31"),
        ("-", [None]),
        ("=", "="),
        ('"22"', "22"),
        ("'true'", "true"),
        ("!!str 22", "22"),
        ("! 22", "22"),
        ("!!int 22", 22),
        ('!!int "22"', 22),
        ("!!null ~", None),
        ("!!bool true", True),
        ("!!float 1", 1),
        ("!!map {}", {}),
        ("!!seq []", []),
        ("|\n  a\n  b\n", "a\nb\n"),
        (">-\n  a\n  b\n", "a b"),
    ],
)
def test_a_scalar_means_what_the_core_schema_says(text: str, value: object, loader: type[Any]) -> None:
    found = value_of(f"a: {text}" if text != "-" else "a:\n- ", loader)
    assert found == {"a": value}
    assert isinstance(found, dict)
    assert type(found["a"]) is type(value)


@by_either_parser
def test_not_a_number_is_a_number_like_any_other(loader: type[Any]) -> None:
    value = value_of(".nan", loader)
    assert isinstance(value, float)
    assert math.isnan(value)


@given(JSON_LIKE)
def test_every_json_text_is_the_same_in_yaml(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    # A JSON number such as 1e+16 is a float in JSON's own reader too.
    assert value_of(text) == json.loads(text)


@by_either_parser
def test_a_duplicate_key_is_reported_with_both_places_and_so_is_the_next(loader: type[Any]) -> None:
    assert problems_of('a: 1\n"a": 2\nb: {c: 1, c: 2}\na: 3\n', loader).split("\n") == [
        'a.yaml:2:1: the key "a" stands here a second time; keep one (see a.yaml:1:1)',
        'a.yaml:3:11: the key "c" stands here a second time; keep one (see a.yaml:3:5)',
        'a.yaml:4:1: the key "a" stands here a second time; keep one (see a.yaml:1:1)',
    ]


@by_either_parser
def test_what_went_wrong_before_a_syntax_error_is_reported_with_it(loader: type[Any]) -> None:
    assert problems_of("a: !x 1\nb: @\n", loader).split("\n") == [
        'a.yaml:1:4: the tag "!x" is not supported; remove it',
        'a.yaml:2:4: a text that starts with "@" must be in quotes',
    ]


@by_either_parser
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!binary eA==", "a.yaml:1:4: the tag"),
        ("a: !!timestamp 2024-01-31", "a.yaml:1:4: the tag"),
        ("a: !<tag:example.com> b", "a.yaml:1:4: the tag"),
        ("a: !!set {b}", "a.yaml:1:4: the tag"),
        ("a: !!int x", "a.yaml:1:4: this is not what its tag !!int says"),
        ("a: !!map []", "a.yaml:1:4: the tag"),
        ("<<: {a: 1}", 'a.yaml:1:1: merge keys ("<<")'),
        ("1: a", 'a.yaml:1:1: a key must be a text; write it in quotes: "1"'),
        ("~: a", 'a.yaml:1:1: a key must be a text; write it in quotes: "~"'),
        ("? [a]\n: b", "a.yaml:1:3: a key must be a text"),
        ("? {a: b}\n: c", "a.yaml:1:3: a key must be a text"),
        ("a: &x b\n*x : c", "a.yaml:2:1: a key must be a text"),
        ("a: *b", 'a.yaml:1:4: no anchor "&b" stands before this alias'),
        ("a: &a [*a]", "a.yaml:1:8: this alias stands inside"),
        ("a: 1\n---\nb: 2", "a.yaml:2:1: a second document"),
        ("a: " + "[" * 65, "a.yaml:1:67: this is nested more than 64"),
        ("a: " + "9" * 5000, "a.yaml:1:4: this number has too many digits"),
        ("a: b\x07", r"a.yaml:1:5: the character"),
        ("a: \ufeffb", r"a.yaml:1:4: the character"),
    ],
)
def test_what_a_state_file_may_not_hold_is_refused_at_its_place(
    text: str, message: str, loader: type[Any]
) -> None:
    assert problems_of(text, loader).startswith(message)


@by_either_parser
def test_a_quoted_merge_key_is_a_key(loader: type[Any]) -> None:
    assert value_of('"<<": 1', loader) == {"<<": 1}


@by_either_parser
def test_an_alias_stands_for_what_was_anchored(loader: type[Any]) -> None:
    assert value_of("a: &x [1, 2]\nb: *x\nc: &y text\nd: *y\n&k e: f\ng: *k\n", loader) == {
        "a": [1, 2],
        "b": [1, 2],
        "c": "text",
        "d": "text",
        "e": "f",
        "g": "e",
    }


def test_a_name_anchored_again_means_the_newer_thing() -> None:
    assert value_of("a: &x 1\nb: &x 2\nc: *x\n") == {"a": 1, "b": 2, "c": 2}


def test_a_few_lines_that_stand_for_a_billion_values_are_refused() -> None:
    lines = ["a0: &a0 lol"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "stand for more than 100000 values" in problems_of("\n".join(lines))


def test_brackets_without_end_are_refused_long_before_the_last() -> None:
    assert "nested more than 64 levels" in problems_of("[" * 1_000_000)


@by_either_parser
def test_places_are_those_of_values_and_keys_and_count_characters(loader: type[Any]) -> None:
    text = 'a: é\n"ü": {x: ü, y: [1,\n    two]}\nlist:\n  - k: v\n'
    position = read_yaml(text, file="a.yaml", loader=loader)[1]
    assert position.find(("a",)) == (1, 4)
    assert position.find(("ü",), key=True) == (2, 1)
    assert position.find(("ü", "x")) == (2, 10)
    assert position.find(("ü", "y"), key=True) == (2, 13)
    assert position.find(("ü", "y", 1)) == (3, 5)
    assert position.find(("list",)) == (5, 3)
    assert position.find(("list", 0)) == (5, 5)
    assert position.find(("list", 0, "k")) == (5, 8)


def test_what_an_alias_stands_for_is_found_where_it_was_written() -> None:
    position = read_yaml("a: &x\n  b: 1\nc: *x\n", file="a.yaml")[1]
    assert position.find(("c", "b")) == (2, 6)
    assert position.find(("c",), key=True) == (3, 1)


#: Pieces of YAML that mean something together now and then, and often clash.
PIECES = st.lists(
    st.sampled_from(
        [
            "a: ",
            "b: ",
            "- ",
            "\n",
            "  ",
            "1",
            "x",
            "[",
            "]",
            "{",
            "}",
            ", ",
            "&n ",
            "*n",
            "? ",
            "!!int ",
            "# y",
            '"',
            "<<: ",
            "---",
        ]
    ),
    max_size=16,
).map("".join)


def outcome(read: Any, text: str) -> object:
    try:
        return repr(read(text, file="f"))  # NaN equals nothing
    except StateError as error:
        return error.problems


@given(PIECES)
def test_the_value_alone_is_the_value_that_comes_with_positions_and_so_are_the_problems(text: str) -> None:
    def with_positions(text: str, *, file: str) -> object:
        return read_yaml(text, file=file)[0]

    assert outcome(read_yaml_value, text) == outcome(with_positions, text)


def test_positions_that_are_asked_for_later_are_the_same() -> None:
    text = "a: [1, {b: 2}]\nc: x\n"
    _, position = read_yaml(text, file="f")

    for path in [(), ("a",), ("a", 1), ("a", 1, "b"), ("c",)]:
        assert yaml_positions(text).find(path) == position.find(path)
        assert yaml_positions(text).find(path, key=True) == position.find(path, key=True)
