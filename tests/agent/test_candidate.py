"""Files in the place of a state."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.candidate import candidate
from schemas.errors import TidegateError


def test_a_file_by_itself_is_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("tidegate: 1\n")

    (text,) = candidate(tmp_path / "gateway.yaml", to=None)

    assert (text.name, text.directory) == (str(tmp_path / "gateway.yaml"), str(tmp_path))


def test_paths_in_a_file_start_where_the_state_is(tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text("tidegate: 1\n")
    state = tmp_path / "etc" / "gateway.yaml"

    (text,) = candidate(tmp_path / "new.yaml", to=state)

    assert (text.name, text.directory, text.data) == (
        str(tmp_path / "new.yaml"),
        str(tmp_path / "etc"),
        b"tidegate: 1\n",
    )


def test_paths_in_fragments_start_in_the_directory_of_the_state(tmp_path: Path) -> None:
    (tmp_path / "new.d").mkdir()
    (tmp_path / "new.d" / "a.yaml").write_text("tidegate: 1\n")
    (tmp_path / "gateway.d").mkdir()

    (text,) = candidate(tmp_path / "new.d", to=tmp_path / "gateway.d")

    assert text.directory == str(tmp_path / "gateway.d")


def test_a_file_does_not_replace_a_directory(tmp_path: Path) -> None:
    (tmp_path / "gateway.d").mkdir()
    (tmp_path / "new.yaml").write_text("tidegate: 1\n")

    with pytest.raises(TidegateError, match=r"new\.yaml is a file and .*gateway\.d is a directory"):
        candidate(tmp_path / "new.yaml", to=tmp_path / "gateway.d")


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(TidegateError, match=r"new\.yaml: there is no such file"):
        candidate(tmp_path / "new.yaml", to=None)
