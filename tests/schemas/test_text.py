from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import Place, StateError
from schemas.text import MAX_BYTES, Document, Syntax, read_document, syntax_for

STATES = sorted(
    path
    for path in (Path(__file__).parent.parent / "states").rglob("*")
    if path.suffix in {".yaml", ".toml", ".json"}
)

every_syntax = pytest.mark.parametrize("syntax", Syntax)


def read(data: bytes, syntax: Syntax = Syntax.YAML) -> Document:
    return read_document(data, name="f", directory="/d", syntax=syntax)


def said_of(data: bytes, syntax: Syntax = Syntax.YAML) -> str:
    with pytest.raises(StateError) as caught:
        read(data, syntax)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "syntax"),
    [
        ("gateway.yaml", Syntax.YAML),
        ("conf.d/10-web.YML", Syntax.YAML),
        ("a.toml", Syntax.TOML),
        ("a.yaml.json", Syntax.JSON),
    ],
)
def test_the_end_of_a_file_name_says_its_syntax(name: str, syntax: Syntax) -> None:
    assert syntax_for(name) is syntax


@pytest.mark.parametrize("name", ["gateway", "gateway.conf", ".yaml", "gateway.yaml~", ""])
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(StateError, match=r"ends in \.yaml, \.yml, \.toml or \.json"):
        syntax_for(name)


@pytest.mark.parametrize(
    ("syntax", "text"),
    [(Syntax.YAML, "é: {b: 1}"), (Syntax.TOML, '"é" = {b = 1}'), (Syntax.JSON, '{"é": {"b": 1}}')],
)
def test_a_document_knows_its_value_its_name_and_its_places(syntax: Syntax, text: str) -> None:
    document = read(text.encode(), syntax)
    assert document.value == {"é": {"b": 1}}
    assert (document.name, document.directory, document.owned) == ("f", "/d", False)
    place = document.locate(("é", "b"))
    assert (place.file, place.line) == ("f", 1)
    assert text.startswith("1", place.col - 1)
    key = document.locate(("é", "b"), key=True)
    assert text.lstrip().startswith(("b", '"b'), key.col - 1)


@every_syntax
@pytest.mark.parametrize("data", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused_in_these_words(data: bytes, syntax: Syntax) -> None:
    assert "the file holds no state" in said_of(data, syntax)


@every_syntax
def test_a_byte_order_mark_is_skipped_and_moves_no_column(syntax: Syntax) -> None:
    text = {Syntax.YAML: "a: 1", Syntax.TOML: "a = 1", Syntax.JSON: '{"a": 1}'}[syntax]
    marked, plain = (read(mark + text.encode(), syntax) for mark in (b"\xef\xbb\xbf", b""))
    assert marked.value == plain.value
    assert marked.locate(("a",)) == plain.locate(("a",))


@every_syntax
def test_a_file_that_is_not_utf_8_is_refused_at_the_first_such_byte(syntax: Syntax) -> None:
    assert said_of("tidegate: é\n  ü".encode() + b"\xfc", syntax) == (
        "f:2:4: the byte 0xfc is not UTF-8; save the file as UTF-8"
    )
    assert "UTF-16" in said_of("tidegate: 1".encode("utf-16"), syntax)


@every_syntax
def test_a_file_that_is_too_long_is_refused_unread(syntax: Syntax) -> None:
    assert "the file is 16.0 MiB long; a state file has at most 16 MiB" in said_of(
        b"\xff" * (MAX_BYTES + 1), syntax
    )


@pytest.mark.parametrize(
    ("syntax", "text"), [(Syntax.YAML, "- 1"), (Syntax.YAML, "x"), (Syntax.JSON, "[1]"), (Syntax.JSON, "3")]
)
def test_a_file_that_is_no_mapping_is_refused(syntax: Syntax, text: str) -> None:
    assert "a state file is a mapping" in said_of(text.encode(), syntax)


@pytest.mark.parametrize(
    ("syntax", "text"),
    [
        (Syntax.YAML, "a: " + "[" * 80 + "]" * 80),
        (Syntax.TOML, "a = " + "[" * 80 + "]" * 80),
        (Syntax.TOML, ".".join(["a"] * 100) + " = 1"),
        (Syntax.JSON, '{"a": ' + "[" * 80 + "]" * 80 + "}"),
        (Syntax.JSON, '{"a": ' * 400 + "1" + "}" * 400),
    ],
)
def test_a_value_nested_too_deeply_is_refused(syntax: Syntax, text: str) -> None:
    assert "nested more than 64 levels deep" in said_of(text.encode(), syntax)


@pytest.mark.parametrize(("syntax", "colon"), [(Syntax.YAML, ":"), (Syntax.TOML, " ="), (Syntax.JSON, ":")])
def test_what_git_could_not_merge_is_told_where_it_begins(syntax: Syntax, colon: str) -> None:
    text = f'"a"{colon} 1\n<<<<<<< HEAD\n"b"{colon} 2\n=======\n"b"{colon} 3\n>>>>>>> main\n'
    said = said_of(text.encode(), syntax)

    assert said.startswith("f:2:1: Git could not merge two versions of this and left both; choose")


def test_the_words_of_git_in_a_text_that_can_be_read_are_a_text() -> None:
    assert read(b"a: |\n  x\n\n  <<<<<<< HEAD\n").value == {"a": "x\n\n<<<<<<< HEAD\n"}


@pytest.mark.parametrize("text", ['{"a": "\\ud800"}', '{"\\uDFFF": 1}', '{"a": ["x", "\\ud83d\\u0041"]}'])
def test_half_a_character_is_refused(text: str) -> None:
    assert "half of a character" in said_of(text.encode(), Syntax.JSON)


def test_a_pair_of_halves_is_a_character() -> None:
    assert read(b'{"a": "\\ud83d\\ude00"}', Syntax.JSON).value == {"a": "😀"}


def test_a_document_never_shows_its_value() -> None:
    assert "made up" not in repr(read(b"key: made up"))


def test_a_document_made_by_hand_has_one_place() -> None:
    assert Document({"a": 1}, name="f", directory="").locate(("a",)) == Place("f", 1, 1)


@given(st.binary(), st.sampled_from(Syntax))
def test_any_bytes_are_a_document_or_a_state_error(data: bytes, syntax: Syntax) -> None:
    try:
        document = read(data, syntax)
    except StateError:
        return
    json.dumps(document.value, default=str)  # shallow enough for a recursive walk
    document.locate(tuple(document.value)[:1], key=True)


@given(st.sampled_from(STATES), st.data())
def test_a_state_file_cut_and_changed_anywhere_is_a_document_or_a_state_error(
    path: Path, data: st.DataObject
) -> None:
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3), label="changes")):
        start = data.draw(st.integers(0, len(whole)), label="at")
        length = data.draw(st.integers(0, 4), label="length")
        whole[start : start + length] = data.draw(st.binary(max_size=3), label="new")
    del whole[data.draw(st.integers(0, len(whole)), label="end") :]
    try:
        read(bytes(whole), syntax_for(path.name))
    except StateError as error:
        assert all(problem.place is not None for problem in error.problems)  # noqa: PT017 - both ends are right
