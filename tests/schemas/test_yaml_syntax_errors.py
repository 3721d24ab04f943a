from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.errors import StateError
from schemas.yaml_text import LOADERS, read_yaml

by_either_parser = pytest.mark.parametrize("loader", LOADERS, ids=lambda loader: loader.__name__)


def said_of(text: str, loader: type[Any]) -> str:
    with pytest.raises(StateError) as caught:
        read_yaml(text, file="f", loader=loader)
    (problem,) = caught.value.problems
    return str(problem)


@by_either_parser
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: b: c", 'f:1:5: a ":" is not allowed here; put the text in quotes, or check the indentation'),
        ("a:\n\tb: 1", "f:2:1: a tab may not indent a line in YAML; write spaces"),
        ("a: [b\n\t,c]", "f:2:1: a tab may not indent a line in YAML; write spaces"),
        ("a: @b", 'f:1:4: a text that starts with "@" must be in quotes'),
        ("a: `b", 'f:1:4: a text that starts with "`" must be in quotes'),
        ("a: %b", 'f:1:4: a text that starts with "%" must be in quotes'),
        ("a: [::]:443", 'f:1:4: an address that starts with "[" must be in quotes, for example "[::]:443"'),
        ("a: [::1]:443", 'f:1:4: an address that starts with "[" must be in quotes, for example "[::]:443"'),
        ("a: [2001:db8::1]:443", 'f:1:4: an address that starts with "[" must be in quotes'),
        ("- [::1]:443", 'f:1:3: an address that starts with "[" must be in quotes, for example "[::]:443"'),
        ("a: *.b.c", 'f:1:4: a text that starts with "*" must be in quotes, for example "*.example.com"'),
        ("a: [*.b.c]", 'f:1:5: a text that starts with "*" must be in quotes, for example "*.example.com"'),
        ("a: *", 'f:1:4: a text that starts with "*" must be in quotes, for example "*.example.com"'),
        ("a: & b", 'f:1:4: a text that starts with "&" must be in quotes'),
        ("a: - b", "f:1:4: a list may not start here; begin it on the next line"),
        ("a: 'b", "f:1:4: the quoted text that starts here never ends; add the closing quote"),
        ('a: "b\n---\n"', "f:1:4: the quoted text that starts here never ends; add the closing quote"),
        ('a: "\\q"', "f:1:"),
        ("a: [b, c", 'f:1:9: a "," or a "]" is missing here in the list that starts in line 1'),
        ("a: [b\nc: d", 'f:2:2: a "," or a "]" is missing here in the list that starts in line 1'),
        ("a: {b: c", 'f:1:9: a "," or a "}" is missing here in the mapping that starts in line 1'),
        ("a: b\n- c", "f:2:1: this does not belong to the mapping that starts in line 1"),
        ('a: "b" c', "f:1:8: this does not belong to the mapping that starts in line 1"),
        ("- a\nb: c", 'f:2:1: this does not belong to the list that starts in line 1; write "- " before it'),
        ("a: ]", 'f:1:4: a value is missing before this "]"'),
        ("a: [", "f:1:5: a value is missing here; check that every bracket is closed"),
        ("a: |\n b\nc", 'f:3:1: this line has no ":" after its key, or is not indented enough'),
        ("a: !e!b c", "f:1:4: a tag is not supported"),
        ("a: !<b", "f:1:7: a tag is not supported"),
        ("a: 1\n...\nb", "f:3:1: this does not belong to the document above it"),
        ("%YAML 2.0\n---\na: 1", "f:1:1: this directive is not supported"),
        ("a: | b\n c", 'f:1:6: the text after "|" or ">" begins on the next line'),
    ],
)
def test_a_syntax_error_is_one_sentence_that_says_what_to_write(
    text: str, said: str, loader: type[Any]
) -> None:
    assert said_of(text, loader).startswith(said)


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="only libyaml refuses this spelling")
def test_a_colon_without_a_space_in_a_flow_mapping_is_told_to_take_one() -> None:
    assert said_of("a: {b:, c: d}", yaml.CSafeLoader).startswith(
        'f:1:6: a space is missing after the ":" here'
    )


@given(st.text(alphabet="ab:-[]{}&*!|>'\"%@`#,?\n\t \\~<.1", max_size=30), st.sampled_from(LOADERS))
@example("", LOADERS[0])
def test_any_text_is_read_or_explained_in_our_own_words(text: str, loader: type[Any]) -> None:
    lines = text.split("\n")
    try:
        read_yaml(text, file="f", loader=loader)
    except StateError as error:
        problems = error.problems
    else:
        problems = ()
    for problem in problems:
        assert problem.place is not None
        assert 1 <= problem.place.line <= len(lines)
        assert 1 <= problem.place.col <= len(lines[problem.place.line - 1]) + 1
        assert problem.message.isprintable()
        # The words of PyYAML's own messages.
        assert "while " not in problem.message
        assert "expected" not in problem.message
