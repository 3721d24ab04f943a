from __future__ import annotations

import tomllib
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import StateError
from schemas.positions import walk
from schemas.toml_text import read_toml, toml_positions

from .values import PRINTABLE


def said_of(text: str) -> list[str]:
    with pytest.raises(StateError) as caught:
        read_toml(text, file="f")
    return str(caught.value).split("\n")


def test_a_dotted_key_that_would_take_gigabytes_is_refused_unread() -> None:
    (line,) = said_of("x = 1\n  " + ".".join(["a"] * 20_000) + " = 1")
    assert line == "f:2:3: this dotted key has too many parts; write a shorter one"
    (line,) = said_of("[" + " . ".join(['"a"', "b-c"] * 100) + "]")
    assert line == "f:1:2: this dotted key has too many parts; write a shorter one"


def test_the_longest_hostname_is_not_a_dotted_key() -> None:
    hostname = ".".join(["a"] * 127)
    assert read_toml(f'hostname = ["{hostname}", "{hostname}"]', file="f") == {
        "hostname": [hostname, hostname]
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a", 'f:1:2: a "=" is missing after the key; write key = "value"'),
        ("a = b", "f:1:5: this is not a TOML value; put a text in double quotes"),
        ("a = off", "f:1:5: this is not a TOML value; put a text in double quotes"),
        ("a = 1 2", "f:1:7: this does not belong to the value before it"),
        ("a = 0.0.0.0:443", "f:1:8: this does not belong to the value before it"),
        ('a = "b', "f:1:7: a text that starts before this never ends; add the closing quote"),
        ('a = "b\n', "f:1:7: the text in this line has no closing quote"),
        ("a = 'b\n", "f:2:1: a text that starts before this never ends; add the closing quote"),
        ("a = 'b\nc = 'd'", "f:1:7: the text in this line has no closing quote"),
        ("a = '''b", "f:1:9: a text that starts before this never ends; add the closing quote"),
        ("# \x01", "f:1:3: this character may not stand in a TOML file"),
        ('é = "\\q"', "f:1:1: this is neither a [table] nor a key"),
        ('"é" = "\\q"', "f:1:10: this escape is not known"),
        ('a = "\\ud800"', "f:1:12: this escape is not a character"),
        ('a = "\\u12"', "f:1:8: this escape needs four digits"),
        ('a = "\x01"', "f:1:6: this character may not stand here"),
        ("a = '\x01'", "f:1:6: this character may not stand"),
        ("[a", "f:1:3: the header of this table has no end"),
        ("[[a]", "f:1:4: the header of this table has no end"),
        ("a = [1 2]", 'f:1:8: a "," or a "]" is missing here'),
        ("a = {b = 1 c = 2}", 'f:1:12: a "," or a "}" is missing here'),
        ("a = {b = 1,}", "f:1:12: a key is wanted here"),
        ("= 1", "f:1:1: this is neither a [table] nor a key"),
        ("a: 1", 'f:1:2: a "=" is missing after the key'),
        ("a = " + "9" * 5000, "f:1:5: this number has too many digits"),
        ("a = " + "[" * 3000 + "]" * 3000, "f:1:69: this is nested more than 64 levels deep"),
    ],
)
def test_a_syntax_error_is_one_sentence_that_says_what_to_write(text: str, said: str) -> None:
    (line,) = said_of(text)
    assert line.startswith(said)


@pytest.mark.parametrize(
    ("text", "clashes"),
    [
        ("a = 1\na = 2", [("a", "2:1", "1:1")]),
        ('a = 1\n"a" = 2', [("a", "2:1", "1:1")]),
        ("[a]\n[b]\n[a]", [("a", "3:2", "1:2")]),
        ("[[a]]\n[a]", [("a", "2:2", "1:3")]),
        ("[a]\n[[a]]", [("a", "2:3", "1:2")]),
        ("a = []\n[[a]]", [("a", "2:3", "1:1")]),
        ("a = {b = 1, b = 2}", [("b", "1:13", "1:6")]),
        ("a.b = 1\na.b = 2", [("b", "2:3", "1:3")]),
        ("a.b = 1\na = 2", [("a", "2:1", "1:1")]),
        ("[t]\nx = 1\nx = 2\ny = 1\ny = 2", [("x", "3:1", "2:1"), ("y", "5:1", "4:1")]),
        ("[[t]]\nx = 1\n[[t]]\nx = 1\nx = 2", [("x", "5:1", "4:1")]),
    ],
)
def test_a_key_that_stands_twice_is_reported_with_both_places(
    text: str, clashes: list[tuple[str, str, str]]
) -> None:
    assert said_of(text) == [
        f'f:{second}: the key "{key}" stands here a second time; keep one (see f:{first})'
        for key, second, first in clashes
    ]


@pytest.mark.parametrize("text", ["a.a = 1\n[a]", "a = {}\n[a.b]", "[a.b]\n[a]\nb.c = 1"])
def test_a_subtler_clash_is_reported_where_it_was_noticed(text: str) -> None:
    (line,) = said_of(text)
    assert line.endswith("this key or table is already there, or clashes with one above; keep one")


TEXT = """\
a."b c".d = 1 # a comment
"é" = "ü"
[gateway.tls] # another
cert = "x"
both = { a = 1, b.c = [1, 2, # a third
  { d = 3 }] }
[[tunnels]]
name = "one"
[[tunnels.parts]]
x = 1
[[tunnels.parts]]
x = 2
[other]
[[tunnels]]
'name' = "two"
[gateway]
name = \"\"\"
gw\"\"\"
[tunnels.last]
y = 3
"""


@pytest.mark.parametrize(
    ("path", "key", "spot"),
    [
        ((), False, (1, 1)),
        (("a",), False, (1, 1)),
        (("a", "b c", "d"), False, (1, 13)),
        (("a", "b c", "d"), True, (1, 9)),
        (("a", "b c"), True, (1, 3)),
        (("é",), False, (2, 7)),
        (("gateway",), True, (3, 2)),
        (("gateway",), False, (3, 2)),
        (("gateway", "tls"), True, (3, 10)),
        (("gateway", "tls"), False, (3, 1)),
        (("gateway", "tls", "cert"), False, (4, 8)),
        (("gateway", "tls", "both", "b", "c", 1), False, (5, 27)),
        (("gateway", "tls", "both", "b", "c", 2, "d"), True, (6, 5)),
        (("gateway", "name"), False, (17, 8)),
        (("tunnels",), True, (7, 3)),
        (("tunnels", 0), False, (7, 1)),
        (("tunnels", 0, "parts", 1, "x"), False, (12, 5)),
        (("tunnels", 1, "name"), True, (15, 1)),
        (("tunnels", 1, "last", "y"), False, (20, 5)),
        (("tunnels", 2), False, (7, 1)),
    ],
)
def test_places_follow_headers_dots_and_inline_tables(
    path: tuple[str | int, ...], key: bool, spot: tuple[int, int]
) -> None:
    tomllib.loads(TEXT)  # it is TOML
    assert toml_positions(TEXT).find(path, key=key) == spot


TOML_LIKE: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    PRINTABLE,
    st.recursive(
        st.integers(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PRINTABLE, inner, max_size=3),
        max_leaves=12,
    ),
    max_size=4,
)


@given(TOML_LIKE)
def test_every_number_is_found_where_it_was_written(value: dict[str, Any]) -> None:
    text = tomli_w.dumps(value)
    assert read_toml(text, file="f") == value
    lines = text.split("\n")
    positions = toml_positions(text)
    for path, found in walk(value):
        if isinstance(found, int):
            line, col = positions.find(path)
            assert lines[line - 1].startswith(str(found), col - 1)


@given(st.text(alphabet="ab.=[]{}\"'#,\n \\1é", max_size=40))
def test_any_text_is_read_or_explained_in_our_own_words(text: str) -> None:
    try:
        read_toml(text, file="f")
    except StateError as error:
        said = str(error)
    else:
        toml_positions(text)
        said = ""
    assert "Expected" not in said
    assert all(line.isprintable() for line in said.split("\n"))
