"""What README.md says is so, and what it says can be typed is typed."""

from __future__ import annotations

import re
import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

import pytest

from schemas.names import parse_listen
from schemas.parse import parse_state
from schemas.ports import parse_listen_pattern
from schemas.roles import Role
from schemas.text import Document, Syntax, read_document

from .support.markdown import blocks, free_replacements, replace_ports, run_commands
from .support.source import ROOT

README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE: Final = README.partition("## A real example")[2].partition("\n## ")[0]
FRAGMENTS: Final = blocks(README.replace(EXAMPLE, ""), "yaml")
NEEDED: Final[dict[Role, dict[str, Any]]] = {
    Role.GATEWAY: {"tidegate": 1, "gateway": {"tls": {"cert": "a", "key": "b", "client_ca": "c"}}},
    Role.CLIENT: {
        "tidegate": 1,
        "client": {"id": "homelab", "gateways": "gw1:1", "tls": {"cert": "a", "key": "b", "ca": "c"}},
        "services": {"web": "127.0.0.1:80"},
    },
}


def document_of(text: str) -> Document:
    return read_document(text.encode(), name="README.md", directory="/d", syntax=Syntax.YAML)


def test_the_two_commands_stand_in_blocks_of_their_own() -> None:
    assert blocks(README, "sh")[:2] == ["make demo\n", "make test\n"]


def test_the_state_files_are_those_of_the_minimal_example() -> None:
    files = [ROOT / "examples" / "minimal" / name for name in ("gateway.yaml", "client.yaml")]

    assert blocks(EXAMPLE, "yaml") == [file.read_text(encoding="utf-8") for file in files]


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_what_it_shows_of_a_state_file_is_understood_in_one(fragment: str) -> None:
    """The first line of each says whose file that is; the keys that all of them need stand in the others."""
    (role,) = [role for role in Role if fragment.startswith(f"# {role.value}.yaml")]
    shown: dict[str, Any] = document_of(fragment).value
    whole = {**NEEDED[role], **shown, role.value: {**NEEDED[role][role.value], **shown.get(role.value, {})}}

    state = parse_state([Document(whole, name="README.md", directory="/d")])

    assert role.value in type(state).model_fields


def test_the_tunnel_that_its_client_declares_is_one_that_its_gateway_allows() -> None:
    shown: list[dict[str, Any]] = [document_of(fragment).value for fragment in FRAGMENTS]
    (clients,) = [one["clients"] for one in shown if "clients" in one]
    (tunnel,) = [own for one in shown for own in one.get("tunnels", ()) if "client" not in own]
    allowed = [parse_listen_pattern(text) for text in clients[0]["listen"]]

    assert clients[0]["declares"] == "session"
    assert all(
        any(pattern.covers(address) for pattern in allowed) for address in parse_listen(tunnel["listen"])
    )
    assert any(fnmatch(tunnel["service"], glob) for glob in clients[0]["services"])


@pytest.mark.real_software("curl", "bash", "python3")
def test_the_example_does_what_it_says(tmp_path: Path) -> None:
    ports = free_replacements(9056, 8080, 8081, 8082, 8083, 8000)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for file in (tmp_path / "examples" / "minimal").glob("*.yaml"):
        file.write_text(replace_ports(file.read_text(), ports))

    printed = run_commands(
        [replace_ports(block, ports) for block in blocks(EXAMPLE, "sh")], directory=tmp_path
    )

    assert printed.count("Hello from home") == 4
    assert "gateway.yaml: valid: 1 tunnel on 1 listener, 1 client\n" in printed
    assert re.search(r"^Plan against .*: 1 to open, 0 to change, 1 to close", printed, re.MULTILINE)
    assert "generation 5 is in force" in printed
    assert "The visitor gets through: tunnel site (gateway.yaml:" in printed
    assert re.search(r"^site +0\.0\.0\.0:\d+ .* Ready ", printed, re.MULTILINE)
    assert re.search(r"^second +127\.0\.0\.1:\d+ .* Ready ", printed, re.MULTILINE)


def test_every_file_it_points_to_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    tour = re.findall(r"`([a-z]+/[\w/.]+)`", README)

    assert links
    assert [path for path in (*links, *tour) if not (ROOT / path).exists()] == []
