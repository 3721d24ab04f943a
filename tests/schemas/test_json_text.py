from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import StateError
from schemas.json_text import json_positions, read_json
from schemas.positions import walk

from .values import JSON_LIKE


def said_of(text: str) -> list[str]:
    with pytest.raises(StateError) as caught:
        read_json(text, file="f")
    return str(caught.value).split("\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "f:1:2: a key in double quotes is wanted here"),
        ('{"a": 1,}', "f:1:9: a key in double quotes is wanted here; there is no comma after the last entry"),
        ("[1,]", "f:1:4: a value is missing here"),
        ('{"a" 1}', 'f:1:6: a ":" is missing after the key'),
        ('{"a": 1\n"b": 2}', 'f:2:1: a "," or a closing bracket is missing here'),
        ('{"a": "b', "f:1:7: the text that starts here never ends; add the closing quote"),
        ('{"a": "b\n"}', "f:1:9: the text before this has no closing quote"),
        ('"\\q"', "f:1:2: this escape is not known"),
        ("{} {}", "f:1:4: the state ends before this; remove the rest"),
        ("// a\n{}", "f:1:1: JSON has no comments"),
        ('{"é": 1, # b\n}', "f:1:10: JSON has no comments"),
        ('{"é": /* b */ 1}', "f:1:7: JSON has no comments"),
        ("[" * 3000 + "]" * 3000, "f:1:65: this is nested more than 64 levels deep"),
        ("[" * 3000, "f:1:65: this is nested more than 64 levels deep"),
        ('["[[[", ' + '{"a": [' * 3000, "f:1:232: this is nested more than 64 levels deep"),
        ("[" + "9" * 5000 + "]", "f:1:2: this number has too many digits"),
    ],
)
def test_a_syntax_error_is_one_sentence_that_says_what_to_write(text: str, said: str) -> None:
    (line,) = said_of(text)
    assert line.startswith(said)


def test_keys_that_stand_twice_are_reported_with_both_places() -> None:
    assert said_of('{"é": 1, "a": [{"b": 1, "\\u0062": 2}],\n "é": 2}') == [
        'f:1:25: the key "b" stands here a second time; keep one (see f:1:17)',
        'f:2:2: the key "é" stands here a second time; keep one (see f:1:2)',
    ]


def test_numbers_that_are_not_json_are_reported_and_texts_that_look_like_them_are_not() -> None:
    assert said_of('{"NaN": "Infinity", "a\\"": [NaN,\n-Infinity, Infinity]}') == [
        "f:1:29: NaN is not JSON; write a number",
        "f:2:1: -Infinity is not JSON; write a number",
        "f:2:12: Infinity is not JSON; write a number",
    ]


@given(JSON_LIKE, st.booleans(), st.sampled_from([None, 1]))
def test_every_value_is_found_where_it_was_written(
    value: object, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert read_json(text, file="f") == value
    lines = text.split("\n")
    positions = json_positions(text)
    for path, found in walk(value):
        line, col = positions.find(path)
        start = json.dumps(found, ensure_ascii=ascii_only)
        start = start[:1] if isinstance(found, dict | list) else start
        assert lines[line - 1].startswith(start, col - 1)
        if path and isinstance(path[-1], str):
            line, col = positions.find(path, key=True)
            assert lines[line - 1].startswith(json.dumps(path[-1], ensure_ascii=ascii_only), col - 1)


@given(st.text(alphabet='ab:[]{}",\n \\1é/N', max_size=40))
def test_any_text_is_read_or_explained_in_our_own_words(text: str) -> None:
    try:
        read_json(text, file="f")
    except StateError as error:
        said = str(error)
    else:
        json_positions(text)
        said = ""
    assert "Expecting" not in said
    assert all(line.isprintable() for line in said.split("\n"))
