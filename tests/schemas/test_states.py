"""Every state file under tests/states, as an operator would meet it.

``invalid/NAME`` stands beside ``invalid/NAME.expected``, which holds the lines that
``tidegate check`` prints for it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import StateError
from schemas.parse import parse_state
from schemas.state import ClientState, GatewayState, State
from schemas.text import read_document, syntax_for

STATES = Path(__file__).parent.parent / "states"
INVALID = sorted(path for path in (STATES / "invalid").iterdir() if path.suffix != ".expected")
VALID = sorted((STATES / "valid").iterdir())


def read(path: Path) -> State:
    document = read_document(
        path.read_bytes(), name=path.name, directory="/etc/tidegate", syntax=syntax_for(path.name)
    )
    return parse_state([document])


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.name)
def test_an_invalid_file_gives_exactly_the_expected_problems(path: Path) -> None:
    with pytest.raises(StateError) as caught:
        read(path)
    assert str(caught.value) == path.with_name(f"{path.name}.expected").read_text().rstrip("\n")


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.name)
def test_every_problem_is_one_line_that_names_its_place(path: Path) -> None:
    with pytest.raises(StateError) as caught:
        read(path)
    for problem in caught.value.problems:
        assert problem.place is not None
        assert problem.place.file == path.name
        assert str(problem).isprintable()
        assert not problem.message.endswith(".")


def test_every_list_of_expected_problems_belongs_to_a_file() -> None:
    expected = {path.name for path in (STATES / "invalid").glob("*.expected")}
    assert expected == {f"{path.name}.expected" for path in INVALID}


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.name)
def test_a_valid_file_gives_a_state_of_its_role(path: Path) -> None:
    wanted = ClientState if path.name.startswith("client") else GatewayState
    assert isinstance(read(path), wanted)


def test_no_message_shows_what_stands_in_a_reference() -> None:
    shown = "".join(path.read_text() for path in (STATES / "invalid").glob("*.expected"))
    for secret in ("secret", "made up", "MADEUP", "BEGIN", "hunter2"):
        assert secret not in shown
