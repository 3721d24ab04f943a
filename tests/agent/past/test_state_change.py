"""What is to become of an operator's files, made of what somebody names."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from agent.past.state_change import (
    STDIN,
    NotTheSameError,
    change_to,
    check_untouched,
    named_files,
    read_files,
)
from reconcile.together import Change
from schemas.errors import TidegateError


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_bytes(b"old\n")
    return path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory of fragments, with what is none."""
    path = tmp_path / "gateway.d"
    path.mkdir()
    for name in ("10-base.yaml", "20-blog.yaml", "README.md", ".hidden.yaml", "gateway.d.api.toml"):
        (path / name).write_text(f"{name}\n")
    return path


def test_a_file_takes_the_place_of_the_state_and_means_what_it_means_there(
    state: Path, tmp_path: Path
) -> None:
    new = tmp_path / "elsewhere" / "new.yaml"
    new.parent.mkdir()
    new.write_bytes(b"new\n")

    change = change_to(state, named_files(new, to=state, state=state), label="new.yaml")
    assert change.changes == (Change(name="gateway.yaml", before=b"old\n", after=b"new\n"),)
    assert [(text.name, text.directory) for text in change.texts] == [(str(new), str(tmp_path))]
    assert change.directory == tmp_path


def test_the_same_file_is_no_change(state: Path) -> None:
    assert change_to(state, named_files(state, to=state, state=state), label="").changes == ()


def test_a_state_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    state, new = tmp_path / "gateway.yaml", tmp_path / "new.yaml"
    new.write_bytes(b"new\n")

    change = change_to(state, named_files(new, to=state, state=state), label="")
    assert change.changes == (Change(name="gateway.yaml", before=None, after=b"new\n"),)


def test_standard_input_is_in_the_syntax_of_its_place(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"new\n")))

    (text,) = named_files(STDIN, to=state, state=state).values()
    assert (text.name, text.data) == ("<stdin>.yaml", b"new\n")


def test_a_temporary_file_may_be_called_anything(state: Path, tmp_path: Path) -> None:
    (tmp_path / "tmp.x7Yq").write_bytes(b"new\n")

    (text,) = named_files(tmp_path / "tmp.x7Yq", to=state, state=state).values()
    assert text.name == f"{tmp_path}/tmp.x7Yq.yaml"


def test_another_syntax_than_that_of_the_place_is_refused(state: Path, tmp_path: Path) -> None:
    (tmp_path / "new.toml").write_bytes(b"")

    with pytest.raises(TidegateError, match=r"are not in the same syntax: write it as \.yaml"):
        named_files(tmp_path / "new.toml", to=state, state=state)


def test_a_fragment_is_replaced_among_the_others(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_bytes(b"new\n")

    files = named_files(tmp_path / "new.yaml", to=directory / "15-shop.yaml", state=directory)
    change = change_to(directory, files, label="")
    assert change.changes == (Change(name="15-shop.yaml", before=None, after=b"new\n"),)
    assert [Path(text.name).name for text in change.texts] == ["10-base.yaml", "new.yaml", "20-blog.yaml"]
    assert {text.directory for text in change.texts} == {str(directory)}


def test_a_directory_takes_the_place_of_a_directory(directory: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.d"
    new.mkdir()
    (new / "10-base.yaml").write_text("10-base.yaml\n")
    (new / "30-wiki.yaml").write_text("wiki\n")

    change = change_to(directory, named_files(new, to=directory, state=directory), label="")
    assert change.changes == (
        Change(name="20-blog.yaml", before=b"20-blog.yaml\n", after=None),
        Change(name="30-wiki.yaml", before=None, after=b"wiki\n"),
    )


def test_the_fragment_that_tidegate_owns_is_not_the_operators(directory: Path) -> None:
    assert set(read_files(directory)) == {"10-base.yaml", "20-blog.yaml"}


def test_what_cannot_take_the_place_of_the_other_is_refused(state: Path, directory: Path) -> None:
    with pytest.raises(TidegateError, match="can only take the place of one"):
        named_files(directory, to=state, state=state)
    with pytest.raises(TidegateError, match="name the file in it, for example --to"):
        named_files(state, to=directory, state=directory)
    with pytest.raises(TidegateError, match="is no fragment of"):
        named_files(state, to=state, state=directory)
    with pytest.raises(TidegateError, match="is no name of a state file"):
        named_files(state, to=state.with_name("gateway"), state=state.with_name("gateway"))
    with pytest.raises(TidegateError, match="there is no such file; correct the path"):
        named_files(state.with_name("none.yaml"), to=state, state=state)


@pytest.mark.parametrize("now", [b"another\n", None])
def test_what_somebody_changed_meanwhile_is_noticed(state: Path, tmp_path: Path, now: bytes | None) -> None:
    (tmp_path / "new.yaml").write_bytes(b"new\n")
    change = change_to(state, named_files(tmp_path / "new.yaml", to=state, state=state), label="")
    check_untouched(change)
    if now is None:
        state.unlink()
    else:
        state.write_bytes(now)

    with pytest.raises(NotTheSameError, match=r"has just been changed by somebody else: look at it"):
        check_untouched(change)
