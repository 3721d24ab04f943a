"""Which agent a command means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.commands.finding import agent_of, found_agent, found_state
from agent.offline import NotFoundError
from schemas.errors import TidegateError
from tests.support.states import write_gateway


def test_a_socket_that_is_named_wins_and_nothing_is_read(tmp_path: Path) -> None:
    found = found_agent(tmp_path / "missing.yaml", tmp_path / "x.sock")

    assert found.socket == tmp_path / "x.sock"


def test_a_state_file_says_where_its_agent_answers_and_how_it_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = write_gateway(tmp_path)

    assert found_agent(state, None).socket == tmp_path / "gateway.sock"
    monkeypatch.chdir(tmp_path)
    assert found_agent(None, None).start == "tidegate gateway gateway.yaml"


def test_without_either_it_says_what_to_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFoundError, match="name the state file"):
        found_agent(None, None)


def test_a_directory_in_which_a_file_has_the_agent_is_not_taken_for_the_state(tmp_path: Path) -> None:
    state = write_gateway(tmp_path)
    assert found_agent(tmp_path, None).socket == tmp_path.with_name(f"{tmp_path.name}.sock")

    (tmp_path / "gateway.sock").touch()

    with pytest.raises(TidegateError, match=f"but {re.escape(str(state))} is: name that file"):
        found_agent(tmp_path, None)


def test_an_agent_whose_file_was_removed_is_found_by_its_socket(tmp_path: Path) -> None:
    state = tmp_path / "gateway.yaml"
    with pytest.raises(TidegateError, match="there is no such file"):
        found_agent(state, None)

    (tmp_path / "gateway.sock").touch()

    assert found_agent(state, None).socket == tmp_path / "gateway.sock"


def test_the_state_of_an_agent_is_known_unless_only_its_socket_is(tmp_path: Path) -> None:
    assert found_state(None, tmp_path / "x.sock") is None
    assert found_state(tmp_path / "gateway.yaml", tmp_path / "x.sock") == tmp_path / "gateway.yaml"


def test_the_agent_of_a_file_that_was_removed_is_looked_for_where_it_would_be(tmp_path: Path) -> None:
    found = agent_of(tmp_path / "gateway.yaml", None)

    assert found.socket == tmp_path / "gateway.sock"
    assert found.history == tmp_path / "gateway.history"
    assert agent_of(tmp_path / "gateway.yaml", tmp_path / "x.sock").socket == tmp_path / "x.sock"
    assert agent_of(write_gateway(tmp_path), None).start == f"tidegate gateway {tmp_path / 'gateway.yaml'}"
