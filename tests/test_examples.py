"""Every example is a state that Tidegate accepts, and its README can be followed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import pytest

from agent.check import run_check
from schemas.roles import Role
from schemas.text import read_document, syntax_for

from .support.json_schemas import refusals, schema_file
from .support.markdown import blocks, free_replacements, replace_ports, run_commands
from .support.source import ROOT

EXAMPLES: Final = sorted(path for path in (ROOT / "examples").iterdir() if path.is_dir())
STATES: Final = sorted(
    path
    for path in (ROOT / "examples").rglob("*")
    if path.suffix in {".yaml", ".toml", ".json"} and not path.name.endswith(".api.toml")
)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("state", STATES, ids=relative)
def test_every_state_file_is_valid(state: Path) -> None:
    assert run_check(state, files=False, syntax="YAML") == 0


def read(state: Path) -> tuple[Role, dict[str, object]]:
    """For which role a state file is, and what it says."""
    document = read_document(state.read_bytes(), name=state.name, directory="", syntax=syntax_for(state.name))
    return next(role for role in Role if role.value in document.value), document.value


@pytest.mark.parametrize("state", STATES, ids=relative)
def test_the_schema_takes_every_state_file(state: Path) -> None:
    assert refusals(*read(state)) == []


@pytest.mark.parametrize("state", [state for state in STATES if state.suffix == ".yaml"], ids=relative)
def test_every_state_file_tells_editors_the_schema_of_its_role(state: Path) -> None:
    first_line = state.read_text(encoding="utf-8").partition("\n")[0]
    start, _, schema = first_line.partition("$schema=")

    assert start == "# yaml-language-server: "
    assert (state.parent / schema).resolve() == schema_file(read(state)[0])


@pytest.mark.parametrize("example", EXAMPLES, ids=relative)
def test_every_example_says_how_to_run_it(example: Path) -> None:
    assert blocks((example / "README.md").read_text(encoding="utf-8"), "sh")


@pytest.mark.real_software("curl", "bash", "python3")
def test_the_minimal_example_does_what_it_says(tmp_path: Path) -> None:
    ports = free_replacements(9056, 8080, 8000)
    example = shutil.copytree(ROOT / "examples" / "minimal", tmp_path / "minimal")
    for file in example.iterdir():
        file.write_text(replace_ports(file.read_text(), ports))

    printed = run_commands(blocks((example / "README.md").read_text(), "sh"), directory=example)

    assert "Hello from home" in printed
    assert "homelab -> web" in printed
