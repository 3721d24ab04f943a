"""Arguments in the help of a command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from agent.commands.plain_help import InOrder, PlainTyper

program = PlainTyper(rich_markup_mode=None, add_completion=False)


@program.command()
def copy(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="What to copy.")],
    others: Annotated[list[str], typer.Argument(metavar="OTHER...", help="What else.")],
) -> None:
    """Copy things."""


@program.command()
def look(
    at: Annotated[Path | None, typer.Argument(metavar="[AT]", help="Where.", show_default=False)] = None,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", show_default=False)] = None,
) -> None:
    """Look at things."""


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ("copy", "Usage: program copy [OPTIONS] SOURCE OTHER..."),
        ("look", "Usage: program look [OPTIONS] [AT] [NAME...]"),
    ],
)
def test_usage_is_written_as_it_is_typed(command: str, usage: str) -> None:
    lines = CliRunner().invoke(program, [command, "--help"], prog_name="program").output.splitlines()

    assert lines[0] == usage


def test_an_argument_is_explained_by_its_metavar_and_not_by_its_type() -> None:
    output = CliRunner().invoke(program, ["copy", "--help"], prog_name="program").output

    assert "  SOURCE    What to copy.  [required]\n" in output
    assert "<" not in output


def test_no_path_is_judged_before_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)

    result = CliRunner().invoke(program, ["look", str(tmp_path)], prog_name="program")

    assert (result.exit_code, result.output) == (0, "")


def test_commands_are_listed_in_the_order_of_their_use() -> None:
    class Backwards(InOrder):
        order = ("look", "copy")

    ordered = PlainTyper(cls=Backwards, rich_markup_mode=None, add_completion=False)
    ordered.add_typer(program)

    output = CliRunner().invoke(ordered, ["--help"]).output

    assert output.index("  look  ") < output.index("  copy  ")
