"""Every example is a state that Tidegate accepts, and its README can be followed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

import pytest

from agent.commands.check import run_check
from schemas.roles import Role
from schemas.text import read_document, syntax_for

from .support.json_schemas import refusals, schema_file
from .support.markdown import blocks, free_replacements, replace_ports, run_commands
from .support.source import ROOT

EXAMPLES: Final = sorted(path for path in (ROOT / "examples").iterdir() if path.is_dir())


def is_state(path: Path) -> bool:
    """Whether it is a state file, and not one for another program that is written in the same language."""
    return (
        path.suffix in {".yaml", ".toml", ".json"}
        and not path.name.endswith(".api.toml")
        and re.search(r"^tidegate *[:=]", path.read_text(encoding="utf-8"), re.MULTILINE) is not None
    )


STATES: Final = sorted(path for path in (ROOT / "examples").rglob("*") if is_state(path))


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


def run_readme(name: str, *ports: int, directory: Path) -> str:
    """Type every command of an example's README in a copy of it, with other ports; what they print."""
    replacements = free_replacements(*ports)
    example = shutil.copytree(ROOT / "examples" / name, directory / name)
    for file in example.iterdir():
        file.write_text(replace_ports(file.read_text(), replacements))
    return run_commands(blocks((example / "README.md").read_text(), "sh"), directory=example)


@pytest.mark.real_software("curl", "bash", "python3")
def test_the_minimal_example_does_what_it_says(tmp_path: Path) -> None:
    printed = run_readme("minimal", 9056, 8080, 8000, directory=tmp_path)

    assert "Hello from home" in printed
    assert "homelab -> web" in printed


@pytest.mark.real_software("curl", "bash", "python3", "nginx")
def test_the_websocket_example_does_what_it_says(tmp_path: Path) -> None:
    printed = run_readme("websocket", 9056, 8080, 8000, 8443, directory=tmp_path)

    assert "Hello from home" in printed
    assert re.search(r"wss://127\.0\.0\.1:\d{4,5}/base/tunnel", printed)
    assert "This is a web page." in printed


@pytest.mark.real_software("git", "bash", "tar", "install")
def test_a_commit_opens_a_port_and_one_with_a_mistake_is_refused_when_it_is_pushed(tmp_path: Path) -> None:
    printed = run_readme("gitops", 9056, 8080, 8025, directory=tmp_path)

    opened, _, rest = printed.partition("CLIENT  ")
    assert "generation 2 in force" in opened
    assert re.search(r"^mail +0\.0\.0\.0:\d+ ", opened, re.MULTILINE)
    refused, _, closed = rest.partition("nothing has changed")
    assert re.search(r"^remote: gateway\.yaml:20:5: unknown key \"servcie\"", refused, re.MULTILINE)
    assert "pre-receive hook declined" in refused
    assert "generation 3 in force" in closed
    assert not re.search(r"^mail ", closed, re.MULTILINE)
