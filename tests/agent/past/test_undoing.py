"""Undoing a change of an operator's files, on the disk, whenever somebody dies."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.past.undoing import (
    Keeping,
    Undone,
    finish_orphan,
    keep,
    note_path,
    put_back,
    read_pending,
    write_note,
)
from reconcile.journal import NOTE, Entry, Note, Side, Terms, render_note
from reconcile.placing import NotPlaceableError, place
from reconcile.reading import StateText, digest_of, take_snapshot
from reconcile.taking_turns import turn
from reconcile.together import Change, replace_together
from reconcile.together import _carry_out as carry_out
from schemas.confirmation import ConfirmationRequest, ConfirmedFile
from tests.support.dying import deaths

TERMS = Terms(deadline=datetime(2026, 5, 17, 12, 1, tzinfo=UTC), within=60.0)
OLD = {"10-base.yaml": b"base\n", "20-blog.yaml": b"blog\n", "30-mail.yaml": b"mail\n"}
NEW = {"10-base.yaml": b"base\n", "20-blog.yaml": b"other\n", "40-shop.yaml": b"shop\n"}


def sha(data: bytes | None) -> str | None:
    return None if data is None else hashlib.sha256(data).hexdigest()


def request(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> ConfirmationRequest:
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return ConfirmationRequest(
        within=60.0,
        files=tuple(
            ConfirmedFile(name=name, before=sha(before.get(name)), after=sha(after.get(name)))
            for name in names
        ),
    )


def put(directory: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        (directory / name).write_bytes(data)


def read(directory: Path) -> dict[str, bytes]:
    return {Path(text.name).name: text.data for text in take_snapshot(directory).texts}


def make_change(directory: Path) -> None:
    changes = [
        Change(name=name, before=OLD.get(name), after=NEW.get(name))
        for name in sorted(OLD | NEW)
        if OLD.get(name) != NEW.get(name)
    ]
    replace_together(directory, changes)


def note_then_change(directory: Path) -> None:
    write_note(directory, request(OLD, NEW), TERMS)
    make_change(directory)


def undo(directory: Path) -> None:
    noted = read_pending(directory)
    if noted is not None:
        put_back(directory, noted, lambda texts: None)


def put_old(directory: Path) -> None:
    put(directory, OLD)


def put_changed(directory: Path) -> None:
    put(directory, OLD)
    note_then_change(directory)


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A directory of fragments with a change that can be undone."""
    put_changed(tmp_path)
    assert read(tmp_path) == NEW
    return tmp_path


def test_what_is_undone_is_as_before(changed: Path) -> None:
    noted = read_pending(changed)
    assert noted is not None
    assert noted.terms == TERMS

    assert put_back(changed, noted, lambda texts: None) is Undone.RESTORED
    assert {entry.name: entry.read_bytes() for entry in changed.iterdir()} == OLD


def test_the_old_files_are_announced_before_they_are_back(changed: Path) -> None:
    announced: list[str] = []

    def excuse(texts: tuple[StateText, ...]) -> None:
        assert read(changed) == NEW
        announced.append(digest_of(texts))

    noted = read_pending(changed)
    assert noted is not None
    put_back(changed, noted, excuse)  # type: ignore[arg-type]  # it is always a tuple
    assert announced == [take_snapshot(changed).digest]


def test_what_is_kept_leaves_nothing_behind(changed: Path) -> None:
    noted = read_pending(changed)
    assert noted is not None

    assert keep(changed, noted) is Keeping.KEPT
    assert {entry.name: entry.read_bytes() for entry in changed.iterdir()} == NEW
    assert read_pending(changed) is None


@pytest.mark.parametrize("name", ["20-blog.yaml", "30-mail.yaml", "40-shop.yaml"])
def test_if_somebody_has_changed_one_since_all_of_them_stay(changed: Path, name: str) -> None:
    (changed / name).write_bytes(b"somebody's\n")
    noted = read_pending(changed)
    assert noted is not None

    assert put_back(changed, noted, lambda texts: None) is Undone.LEFT
    assert read(changed) == NEW | {name: b"somebody's\n"}
    assert read_pending(changed) is None


def test_files_that_are_no_part_of_the_change_are_not_touched(changed: Path) -> None:
    (changed / "50-wiki.yaml").write_bytes(b"wiki\n")
    (changed / "10-base.yaml").write_bytes(b"another base\n")
    undo(changed)

    assert read(changed) == OLD | {"50-wiki.yaml": b"wiki\n", "10-base.yaml": b"another base\n"}


def test_whenever_whoever_changes_is_killed_it_can_be_undone(tmp_path: Path) -> None:
    for _, directory in deaths(tmp_path, put_old, note_then_change):
        assert read(directory) in (OLD, NEW)
        undo(directory)
        assert {e.name: e.read_bytes() for e in directory.iterdir() if not e.name.endswith(".tmp")} == OLD


def test_whenever_the_agent_is_killed_while_it_undoes_the_next_one_does_it(tmp_path: Path) -> None:
    for _, directory in deaths(tmp_path, put_changed, undo):
        assert read(directory) in (OLD, NEW)
        undo(directory)
        left = {entry.name for entry in directory.iterdir()} - OLD.keys()
        assert read(directory) == OLD
        assert [name for name in left if not name.endswith((".tmp", ".turn"))] == []


def put_partly_changed(directory: Path) -> None:
    """A change that can be undone, of which only the first file is in place: its writer was killed."""
    put_old(directory)
    write_note(directory, request(OLD, NEW), TERMS)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("reconcile.together._carry_out", die_after_one)
        with pytest.raises(InterruptedError):
            make_change(directory)
    assert read(directory) == NEW


def die_after_one(directory: Path, entries: Sequence[Entry]) -> None:
    carry_out(directory, entries[:1])
    raise InterruptedError


def test_what_is_half_done_is_done_when_it_is_kept_and_not_before(tmp_path: Path) -> None:
    put_partly_changed(tmp_path)
    assert not finish_orphan(tmp_path)
    noted = read_pending(tmp_path)
    assert noted is not None

    assert keep(tmp_path, noted) is Keeping.KEPT
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == NEW


def test_what_is_half_done_is_left_to_whoever_is_still_at_it(tmp_path: Path) -> None:
    put_partly_changed(tmp_path)
    note_path(tmp_path).unlink()
    with turn(tmp_path, holder="tidegate apply"):
        assert not finish_orphan(tmp_path)
    assert (tmp_path / NOTE).exists()

    assert finish_orphan(tmp_path)
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == NEW


def test_what_is_half_done_is_undone_without_being_done_first(tmp_path: Path) -> None:
    put_partly_changed(tmp_path)
    undo(tmp_path)

    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == OLD


def test_what_is_half_done_and_touched_by_somebody_stays_as_it_is(tmp_path: Path) -> None:
    put_partly_changed(tmp_path)
    (tmp_path / "20-blog.yaml").write_bytes(b"mended\n")
    noted = read_pending(tmp_path)
    assert noted is not None

    assert put_back(tmp_path, noted, lambda texts: None) is Undone.LEFT
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == OLD | {
        "20-blog.yaml": b"mended\n"
    }


@pytest.mark.parametrize(("mode", "others"), [(0o600, 0o644), (0o644, 0o600)])
def test_a_file_that_a_change_removed_comes_back_for_whom_it_was(
    tmp_path: Path, mode: int, others: int
) -> None:
    put_old(tmp_path)
    for name in OLD:
        (tmp_path / name).chmod(mode if name == "30-mail.yaml" else others)
    note_then_change(tmp_path)
    undo(tmp_path)

    assert read(tmp_path) == OLD
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in sorted(OLD)]
    assert modes == [others, others, mode]


def test_a_single_file_is_put_back_too(tmp_path: Path) -> None:
    state = tmp_path / "gateway.yaml"
    state.write_bytes(b"old\n")
    write_note(state, request({"gateway.yaml": b"old\n"}, {"gateway.yaml": b"new\n"}), TERMS)
    assert note_path(state).stat().st_mode & 0o777 == 0o600
    place(state, b"new\n")

    undo(state)
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {"gateway.yaml": b"old\n"}


def test_one_that_hangs_while_it_holds_the_turn_does_not_keep_the_old_files_away(
    changed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.past.undoing._TURN_PATIENCE", 0.0)
    with turn(changed, holder="tidegate apply"):
        undo(changed)

    assert read(changed) == OLD


@pytest.mark.parametrize("name", ["other.yaml", ".gateway.yaml", "..", "gateway.yaml.bak"])
def test_only_files_of_the_state_can_be_undone(tmp_path: Path, name: str) -> None:
    state = tmp_path / "gateway.yaml"
    state.write_bytes(b"old\n")

    with pytest.raises(NotPlaceableError, match="is no file of this agent's state"):
        write_note(state, request({}, {name: b"new\n"}), TERMS)
    assert not note_path(state).exists()


def test_what_cannot_be_undone_is_refused_before_anything_is_changed(tmp_path: Path) -> None:
    state = tmp_path / "gateway.yaml"
    (tmp_path / "real.yaml").write_bytes(b"old\n")
    state.symlink_to("real.yaml")
    with pytest.raises(NotPlaceableError, match="is a symbolic link to real"):
        write_note(state, request({"gateway.yaml": b"old\n"}, {"gateway.yaml": b"new\n"}), TERMS)

    state.unlink()
    state.write_bytes(b"somebody's\n")
    with pytest.raises(NotPlaceableError, match="has just been changed: look at it, then try again"):
        write_note(state, request({"gateway.yaml": b"old\n"}, {"gateway.yaml": b"new\n"}), TERMS)
    assert not note_path(state).exists()


@pytest.mark.parametrize("name", ["{}/victim.yaml", "../victim.yaml", "other.yaml", "gateway.yaml\0"])
def test_a_note_of_other_files_than_the_state_is_damaged(tmp_path: Path, name: str) -> None:
    state = tmp_path / "gateway.yaml"
    state.write_bytes(b"new\n")
    entry = Entry(name=name.format(tmp_path), before=Side(digest=str(sha(b"x")), data=b"x"), after=None)
    note_path(state).write_bytes(render_note(Note(files=(entry,), terms=TERMS)))

    with pytest.raises(ValueError, match=r".+"):
        read_pending(state)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        render_note(Note()),  # nobody is to confirm it
        b'{"format_version": 2}',
        b'{"format_version": 1, "deadline": "soon", "within": 1.0, "files": []}',
        b'{"format_version": 1, "deadline": "2026-05-17T12:00:00+00:00", "within": 1.0, "files": [1]}',
        b"\xff",
    ],
)
def test_a_note_that_is_damaged_is_a_value_error(tmp_path: Path, data: bytes) -> None:
    note_path(tmp_path / "gateway.yaml").write_bytes(data)

    with pytest.raises(ValueError, match=r".+"):
        read_pending(tmp_path / "gateway.yaml")
