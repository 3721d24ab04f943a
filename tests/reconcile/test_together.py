"""Several files replaced as one: what a reader finds at any moment, and whoever writes next."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile import together
from reconcile.journal import NOTE, Entry, Note, Side, digest_of_bytes, render_note
from reconcile.placing import NotPlaceableError, access_of
from reconcile.reading import UnreadableError, take_snapshot
from reconcile.together import Change, finish, replace_instead, replace_together
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


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_note_holds_all_of_the_files_and_is_for_nobody_but_the_owner(tmp_path: Path) -> None:
    put_old(tmp_path)
    for name in OLD:
        (tmp_path / name).chmod(0o644)
    put_new_half(tmp_path)

    assert mode(tmp_path / NOTE) == 0o600


def test_a_file_that_nobody_knows_is_for_as_few_as_any_beside_it(tmp_path: Path) -> None:
    put_old(tmp_path)
    for name, bits in zip(OLD, (0o644, 0o640, 0o664), strict=True):
        (tmp_path / name).chmod(bits)
    (tmp_path / "README").write_text("not a state file")
    (tmp_path / "README").chmod(0o600)
    put_new(tmp_path)

    assert [mode(tmp_path / name) for name in sorted(NEW)] == [0o644, 0o640, 0o640]


def test_a_file_that_comes_back_is_for_whom_it_was(tmp_path: Path) -> None:
    put_old(tmp_path)
    for name in OLD:
        (tmp_path / name).chmod(0o644)
    (tmp_path / "30-mail.yaml").chmod(0o600)
    was = access_of(tmp_path / "30-mail.yaml")
    replace_together(tmp_path, [Change(name="30-mail.yaml", before=OLD["30-mail.yaml"], after=None)])
    replace_together(tmp_path, [Change(name="30-mail.yaml", before=None, after=b"mail\n", access=was)])

    assert mode(tmp_path / "30-mail.yaml") == 0o600


def put_new_partly(directory: Path) -> None:
    """As a writer does that dies when it has replaced one file of two that both were there before."""
    put(directory, OLD)
    carried_out = together._carry_out

    def die(where: Path, entries: Sequence[Entry]) -> None:
        carried_out(where, entries[:1])
        raise InterruptedError

    changes = [
        Change(name=name, before=OLD[name], after=b"new\n") for name in ("10-base.yaml", "20-blog.yaml")
    ]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(together, "_carry_out", die)
        with pytest.raises(InterruptedError):
            replace_together(directory, changes)
    assert (directory / "10-base.yaml").read_bytes() == b"new\n"
    assert read(directory) == OLD | {"10-base.yaml": b"new\n", "20-blog.yaml": b"new\n"}


@pytest.mark.parametrize("restored", [["10-base.yaml"], ["10-base.yaml", "20-blog.yaml"]])
def test_whoever_puts_an_old_file_back_takes_back_all_of_a_change_whose_writer_died(
    tmp_path: Path, restored: list[str]
) -> None:
    put_new_partly(tmp_path)
    for name in restored:  # Git puts back what differs, and touches nothing else
        (tmp_path / name).write_bytes(OLD[name])

    assert read(tmp_path) == OLD
    finish(tmp_path)
    assert read(tmp_path) == OLD
    assert names(tmp_path) == sorted(OLD)


def test_another_change_takes_the_place_of_what_was_left(tmp_path: Path) -> None:
    put_new_partly(tmp_path)
    replace_instead(tmp_path, [Change(name="10-base.yaml", before=b"new\n", after=b"third\n")])

    assert read(tmp_path) == OLD | {"10-base.yaml": b"third\n"}
    assert names(tmp_path) == sorted(OLD)


def test_what_was_left_can_be_given_up(tmp_path: Path) -> None:
    put_new_partly(tmp_path)
    replace_instead(tmp_path, [])

    assert read(tmp_path) == OLD | {"10-base.yaml": b"new\n"}
    assert names(tmp_path) == sorted(OLD)


@pytest.mark.parametrize("name", ["/{}/victim.yaml", "../victim.yaml", ".hidden.yaml", "README", "a\0.yaml"])
def test_a_note_that_names_anything_but_a_state_file_of_its_directory_is_told_and_obeyed_by_nobody(
    tmp_path: Path, name: str
) -> None:
    directory = tmp_path / "sites.d"
    directory.mkdir()
    put_old(directory)
    new = Side(digest=digest_of_bytes(b"evil\n"), data=b"evil\n")
    entry = Entry(name=name.format(tmp_path), before=None, after=new)
    (directory / NOTE).write_bytes(render_note(Note(files=(entry,))))

    with pytest.raises(NotPlaceableError, match="cannot be understood: remove it"):
        finish(directory)
    with pytest.raises(UnreadableError, match="cannot be understood; remove it"):
        take_snapshot(directory)
    assert names(directory) == sorted([NOTE, *OLD])
    assert names(tmp_path) == ["sites.d"]


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b"null", b'{"format_version": 2, "files": []}', b"\xff", b"[" * 200_000],
    ids=["empty", "list", "nothing", "null", "version", "bytes", "deep"],
)
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
