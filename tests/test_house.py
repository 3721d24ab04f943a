"""Habits of the house that no tool checks: sizes, docstrings, reasons, log events, nobody's paths."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from .support.source import ROOMS, ROOT, SOURCE, TESTS, has_code, name

LONGEST: Final = 500  # lines; ask why at 400

# A comment that silences a tool names the rules it silences and then, in words, the reason.
SUPPRESSION: Final = re.compile(r"#\s*(?:type:\s*ignore|noqa|pragma:)", re.IGNORECASE)
WITH_REASON: Final = re.compile(
    r"#\s*(?:type:\s*ignore\[[\w, -]+\]|noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|pragma:\s*\w+(?: \w+)?)"
    r"\s+(?:(?:#|-+|—)\s*)?\w\S*\s+\S+",
    re.IGNORECASE,
)

EVENT_NAME: Final = re.compile(r"[a-z]+(?:_[a-z0-9]+)*_[a-z]+")
LOG_METHODS: Final = {
    "debug",
    "info",
    "warning",
    "error",
    "critical",
    "exception",
    "adebug",
    "ainfo",
    "awarning",
    "aerror",
}

# A home directory, or a path below the root user's; written so that this line does not match itself.
HOME_PATH: Final = re.compile(r"(?<![\w.])/(?:home|Users|root)/[A-Za-z0-9._-]+")
NOT_TEXT: Final = {".pyc", ".so", ".png", ".gif", ".ico", ".gz", ".der"}

every_file = pytest.mark.parametrize("file", SOURCE, ids=name)


@every_file
def test_no_source_file_is_longer_than_a_reader_can_hold(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= LONGEST


@every_file
def test_every_module_opens_with_a_sentence_about_itself(file: Path) -> None:
    docstring = ast.get_docstring(_tree(file))

    assert docstring
    assert docstring.split("\n\n")[0].strip().endswith((".", ":"))


@pytest.mark.parametrize("file", [file for file in SOURCE if file.name == "__init__.py"], ids=name)
def test_a_package_init_holds_a_docstring_and_nothing_else(file: Path) -> None:
    assert not has_code(_tree(file))


@pytest.mark.parametrize("file", [file for file in TESTS if file.name.startswith("test_")], ids=name)
def test_every_folder_of_tests_is_a_package(file: Path) -> None:
    assert (file.parent / "__init__.py").exists()


@pytest.mark.parametrize("file", [*SOURCE, *TESTS], ids=name)
def test_whatever_silences_a_tool_says_why(file: Path) -> None:
    silenced = [comment for comment in _comments(file) if SUPPRESSION.search(comment)]

    assert [comment for comment in silenced if not WITH_REASON.search(comment)] == []


@every_file
def test_the_name_of_a_log_event_is_a_constant_of_two_words_or_more(file: Path) -> None:
    wrong = [call for call in _log_calls(_tree(file)) if [_is_event_name(arg) for arg in call.args] != [True]]

    assert [ast.unparse(call) for call in wrong] == []


def test_nothing_in_the_repository_knows_anybodys_home() -> None:
    found = [
        f"{name(file)}: {match.group()}"
        for file in _repository()
        for match in HOME_PATH.finditer(file.read_text(encoding="utf-8"))
    ]

    assert found == []


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _comments(file: Path) -> Iterator[str]:
    with tokenize.open(file) as lines:
        yield from (
            token.string
            for token in tokenize.generate_tokens(lines.readline)
            if token.type == tokenize.COMMENT
        )


def _log_calls(tree: ast.Module) -> Iterator[ast.Call]:
    """Calls such as ``log.info(...)`` and ``self._log.info(...)``."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(attr=method, value=ast.Name(id=owner) | ast.Attribute(attr=owner))
            ):
                if method in LOG_METHODS and owner.strip("_") in {"log", "logger"}:
                    yield node
            case _:
                pass


def _is_event_name(event: ast.expr) -> bool:
    """A constant name, one of two, or an entry of a table of them."""
    match event:
        case ast.Constant(value=str() as text):
            return EVENT_NAME.fullmatch(text) is not None
        case ast.IfExp(body=one, orelse=other):
            return _is_event_name(one) and _is_event_name(other)
        case ast.Subscript(value=ast.Name(id=table)):
            return table.isupper()
        case _:
            return False


def _repository() -> Iterator[Path]:
    """Every text file that belongs to the project, whether or not Git is there to ask."""
    folders = [ROOT / folder for folder in (*ROOMS, "tests", "examples", ".ci")]
    files = [file for folder in folders for file in folder.rglob("*")] + list(ROOT.iterdir())
    for file in files:
        if file.is_file() and not file.name.startswith(".") and file.suffix not in NOT_TEXT:
            yield file
