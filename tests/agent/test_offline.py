"""State files as commands read them, without asking an agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.offline import NotFoundError, find_agent, find_state, read_offline, read_stdin
from schemas.errors import TidegateError
from schemas.state import GatewayState
from schemas.text import Syntax
from tests.support.states import GATEWAY, write_client, write_gateway

DECLARED = """\
tidegate = 1
[[tunnels]]
name = "{name}"
listen = "127.0.0.1:{port}"
client = "homelab"
service = "web"
declared_by = "homelab"
"""


def test_what_was_declared_through_the_api_is_read_with_the_file(tmp_path: Path) -> None:
    path = write_gateway(tmp_path)
    (tmp_path / "gateway.api.toml").write_text(DECLARED.format(name="extra", port=8081))

    state = read_offline(path).state

    assert isinstance(state, GatewayState)
    assert [tunnel.name for tunnel in state.tunnels] == ["web", "extra"]


def test_a_clash_between_the_file_and_the_api_is_a_problem(tmp_path: Path) -> None:
    path = write_gateway(tmp_path)
    (tmp_path / "gateway.api.toml").write_text(DECLARED.format(name="web", port=8081))

    read = read_offline(path)

    assert read.state is None
    assert "web" in str(read.problems[0])


def test_problems_in_how_a_file_is_written_are_found_by_line(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("tidegate: 1\ngateway: {\n")

    read = read_offline(path)

    assert read.state is None
    assert str(read.problems[0]).startswith(f"{path}:")


def test_a_file_that_is_not_there_has_no_line_to_point_at(tmp_path: Path) -> None:
    with pytest.raises(TidegateError, match=r"nothing\.yaml: there is no such file"):
        read_offline(tmp_path / "nothing.yaml")


def test_standard_input_is_read_in_the_syntax_that_was_named() -> None:
    assert read_stdin(GATEWAY.format(control=1, public=2).encode(), Syntax.YAML).state is not None
    assert str(read_stdin(b"nonsense", Syntax.TOML).problems[0]).startswith("<stdin>:1:")


@pytest.mark.parametrize("name", ["gateway.yaml", "client.toml", "gateway.json"])
def test_the_state_of_a_directory_is_the_file_named_after_a_role(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    (tmp_path / "other.yaml").touch()

    assert find_state(tmp_path) == tmp_path / name


def test_none_and_two_states_in_a_directory_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no gateway\.yaml or client\.yaml"):
        find_state(tmp_path)
    (tmp_path / "gateway.yaml").touch()
    (tmp_path / "client.yaml").touch()
    with pytest.raises(NotFoundError, match=r"gateway\.yaml and client\.yaml"):
        find_state(tmp_path)


def test_an_agent_answers_beside_its_file_and_is_started_with_it(tmp_path: Path) -> None:
    found = find_agent(write_client(tmp_path))

    assert found.socket == tmp_path / "client.sock"
    assert found.start == f"tidegate client {tmp_path / 'client.yaml'}"
    assert found.history == tmp_path / "client.history"


def test_what_a_file_does_not_say_of_its_role_its_name_may(tmp_path: Path) -> None:
    path = tmp_path / "client.yaml"
    path.write_text("client: {")

    found = find_agent(path)

    assert (found.role, found.start) == (None, f"tidegate client {path}")


def test_the_file_may_name_the_socket(tmp_path: Path) -> None:
    path = write_gateway(tmp_path)
    path.write_text(path.read_text().replace("name: gw1", "socket: run/admin.sock"))

    assert find_agent(path).socket == tmp_path / "run" / "admin.sock"


@pytest.mark.parametrize(
    ("text", "socket", "role"),
    [
        ("tidegate: 1\ngateway: {socket: run/admin.sock, nonsense: 1}\n", "run/admin.sock", "gateway"),
        ("tidegate: 1\nclient: {nonsense: 1}\n", "state.sock", "client"),
        ("tidegate: 1\nclient: {data: state, nonsense: 1}\n", "state.sock", "client"),
        ("tidegate: 1\ngateway: {\n", "state.sock", "gateway"),
        ("", "state.sock", "gateway"),
    ],
)
def test_the_agent_of_a_broken_file_is_found_all_the_same(
    tmp_path: Path, text: str, socket: str, role: str
) -> None:
    path = tmp_path / "state.yaml"
    path.write_text(text)

    found = find_agent(path)

    assert found.socket == tmp_path / socket
    assert found.start.startswith(f"tidegate {role} ")
    assert found.history == tmp_path / ("state" if "data" in text else "") / "state.history"
