"""The fragment that Tidegate owns, on disk."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from reconcile.declared import DeclaredFile


@pytest.fixture
def declared(tmp_path: Path) -> DeclaredFile:
    return DeclaredFile(tmp_path / "declared.toml")


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def test_nothing_is_declared_at_first(declared: DeclaredFile) -> None:
    assert declared.read() is None


def test_what_was_put_is_read_again_by_whoever_comes_next(declared: DeclaredFile) -> None:
    declared.replace(b"first")
    declared.replace(b"second")

    assert DeclaredFile(declared.path).read() == b"second"
    assert names(declared.path.parent) == ["declared.toml"]


def test_only_the_owner_may_read_it(declared: DeclaredFile) -> None:
    declared.replace(b"x")

    assert stat.S_IMODE(declared.path.stat().st_mode) == 0o600


def test_an_empty_fragment_is_not_an_absent_one(declared: DeclaredFile) -> None:
    declared.replace(b"")
    assert declared.read() == b""

    declared.replace(None)
    assert declared.read() is None


def test_removing_what_is_not_there_is_no_error(declared: DeclaredFile) -> None:
    declared.replace(None)

    assert names(declared.path.parent) == []


def test_the_directory_is_made_if_it_is_missing(tmp_path: Path) -> None:
    declared = DeclaredFile(tmp_path / "run" / "data" / "declared.toml")

    declared.replace(b"x")

    assert declared.read() == b"x"


def test_whoever_is_reading_the_old_fragment_reads_it_to_its_end(declared: DeclaredFile) -> None:
    declared.replace(b"old and whole")
    with declared.path.open("rb") as file:
        declared.replace(b"new")

        assert file.read() == b"old and whole"


def test_what_a_crashed_writer_left_behind_is_ignored_and_cleaned_up(declared: DeclaredFile) -> None:
    declared.replace(b"good")
    leftover = declared.path.with_name(".declared.toml.k3x9.tmp")
    leftover.write_bytes(b"ha")

    assert declared.read() == b"good"

    declared.replace(b"better")
    assert names(declared.path.parent) == ["declared.toml"]


def test_temporary_files_begin_with_a_dot_and_stand_in_the_same_directory(
    declared: DeclaredFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: seen.append(names(declared.path.parent)))

    declared.replace(b"x")

    while_writing, at_the_end = seen
    assert [name[0] for name in while_writing] == ["."]
    assert at_the_end == ["declared.toml"]


def test_a_write_that_fails_leaves_the_fragment_as_it_was(
    declared: DeclaredFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    declared.replace(b"good")
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left"):
        declared.replace(b"better")

    assert declared.read() == b"good"
    assert names(declared.path.parent) == ["declared.toml"]


def test_other_files_in_the_directory_are_not_ours(declared: DeclaredFile) -> None:
    others = [".declared.toml.swp", ".other.toml.k3x9.tmp", "declared.toml.tmp", "gateway.yaml"]
    for name in others:
        (declared.path.parent / name).write_bytes(b"mine")

    declared.replace(b"x")

    assert names(declared.path.parent) == sorted([*others, "declared.toml"])
