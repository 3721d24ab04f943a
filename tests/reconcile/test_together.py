"""Several files replaced as one: what a reader finds at any moment, and whoever writes next."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile import together
from reconcile.placing import NotPlaceableError
from reconcile.reading import UnreadableError, take_snapshot
from reconcile.together import NOTE, Change, finish, meant, read_note, replace_together
from tests.support.dying import deaths

OLD = {"10-base.yaml": b"base\n", "20-blog.yaml": b"blog\n", "30-mail.yaml": b"mail\n"}
NEW = {"10-base.yaml": b"base\n", "20-blog.yaml": b"other\n", "40-shop.yaml": b"shop\n"}
CHANGES = [
    Change(name=name, before=OLD.get(name), after=NEW.get(name))
    for name in sorted(OLD | NEW)
    if OLD.get(name) != NEW.get(name)
]


def put(directory: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        (directory / name).write_bytes(data)


def put_old(directory: Path) -> None:
    put(directory, OLD)


def put_new(directory: Path) -> None:
    replace_together(directory, CHANGES)


def read(directory: Path) -> dict[str, bytes]:
    """The state as an agent reads it."""
    return {Path(text.name).name: text.data for text in take_snapshot(directory).texts}


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def test_all_of_them_are_replaced_and_nothing_is_left_over(tmp_path: Path) -> None:
    put_old(tmp_path)
    put_new(tmp_path)

    assert names(tmp_path) == sorted(NEW)
    assert read(tmp_path) == NEW


def test_whenever_the_writer_is_killed_a_reader_finds_all_of_the_old_or_all_of_the_new(
    tmp_path: Path,
) -> None:
    seen = []
    for _, directory in deaths(tmp_path, put_old, put_new):
        seen.append(read(directory))
        finish(directory)
        assert read(directory) == seen[-1]
        assert NOTE not in names(directory)
    assert [state for state in seen if state not in (OLD, NEW)] == []
    assert seen == sorted(seen, key=[OLD, NEW].index)
    assert OLD in seen


def test_whoever_writes_next_first_carries_out_what_was_left(tmp_path: Path) -> None:
    put_old(tmp_path)
    put_new_half(tmp_path)

    replace_together(tmp_path, [Change(name="50-wiki.yaml", before=None, after=b"wiki\n")])

    assert read(tmp_path) == NEW | {"50-wiki.yaml": b"wiki\n"}
    assert NOTE not in names(tmp_path)


def test_what_somebody_changes_after_the_writer_died_counts(tmp_path: Path) -> None:
    put_old(tmp_path)
    put_new_half(tmp_path)
    (tmp_path / "20-blog.yaml").write_bytes(b"mine\n")

    assert read(tmp_path) == NEW | {"20-blog.yaml": b"mine\n"}
    finish(tmp_path)
    assert read(tmp_path) == NEW | {"20-blog.yaml": b"mine\n"}


def put_new_half(directory: Path) -> None:
    """As a writer does that dies when it comes to what is to be removed."""

    def die(path: Path) -> None:
        raise InterruptedError

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(together, "remove", die)
        with pytest.raises(InterruptedError):
            put_new(directory)
    assert names(directory) == sorted([NOTE, *OLD, *NEW.keys() - OLD.keys()])


def test_the_note_and_new_files_may_be_read_by_whoever_may_read_the_old_ones(tmp_path: Path) -> None:
    put_old(tmp_path)
    for name in OLD:
        (tmp_path / name).chmod(0o640)
    put_new_half(tmp_path)
    assert (tmp_path / NOTE).stat().st_mode & 0o777 == 0o640

    assert (tmp_path / "40-shop.yaml").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b'{"format_version": 2, "files": []}', b"\xff"])
def test_a_note_that_is_not_ours_is_told_and_obeyed_by_nobody(tmp_path: Path, data: bytes) -> None:
    put_old(tmp_path)
    (tmp_path / NOTE).write_bytes(data)

    with pytest.raises(UnreadableError, match="cannot be understood; remove it"):
        take_snapshot(tmp_path)
    with pytest.raises(NotPlaceableError, match="cannot be understood: remove it"):
        put_new(tmp_path)


FILES = st.dictionaries(st.sampled_from(["a.yaml", "b.yaml", "c.toml"]), st.binary(max_size=4), min_size=1)


@given(old=FILES, new=FILES)
def test_from_the_note_on_every_file_counts_as_the_new_one(
    old: dict[str, bytes], new: dict[str, bytes]
) -> None:
    changes = [
        Change(name=name, before=old.get(name), after=new.get(name))
        for name in old | new
        if old.get(name) != new.get(name)
    ]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        put(directory, old)
        replace_together(directory, changes)
        assert {path.name: path.read_bytes() for path in directory.iterdir()} == new


@given(data=st.binary(max_size=40))
def test_any_bytes_are_a_note_or_a_value_error(data: bytes) -> None:
    try:
        note = read_note(data)
    except ValueError:
        return
    assert meant(note, "a.yaml", b"x") == b"x"
