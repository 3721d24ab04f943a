"""Replacing a file: whole or not at all, and like the one that was there."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import pytest

from reconcile import placing
from reconcile.placing import NotPlaceableError, check_placeable, explain, place, remove
from tests.support.dying import deaths

OLD = b"tunnels: [old]\n" * 1000
NEW = b"tunnels: [new]\n" * 2000


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def put_old(directory: Path) -> None:
    (directory / "gateway.yaml").write_bytes(OLD)


def put_new(directory: Path) -> None:
    place(directory / "gateway.yaml", NEW)


def take_away(directory: Path) -> None:
    remove(directory / "gateway.yaml")


def test_whenever_a_writer_is_killed_the_file_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    seen = []
    for _, directory in deaths(tmp_path, put_old, put_new):
        seen.append((directory / "gateway.yaml").read_bytes())
        assert [name for name in names(directory) if not name.startswith(".")] == ["gateway.yaml"]

        put_new(directory)  # whoever comes next finds nothing in the way, and cleans up
        assert names(directory) == ["gateway.yaml"]
        assert (directory / "gateway.yaml").read_bytes() == NEW
    assert set(seen) == {OLD, NEW}
    assert seen == sorted(seen, key=[OLD, NEW].index)


def test_whenever_whoever_removes_it_is_killed_the_file_is_whole_or_gone(tmp_path: Path) -> None:
    for _, directory in deaths(tmp_path, put_old, take_away):
        assert names(directory) == [] or (directory / "gateway.yaml").read_bytes() == OLD


def test_the_new_file_has_the_mode_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_bytes(OLD)
    path.chmod(0o640)

    place(path, NEW, mode=0o600)

    assert mode(path) == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_new_file_has_the_owner_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_bytes(OLD)
    os.chown(path, 4711, 4712)

    place(path, NEW)

    assert (path.stat().st_uid, path.stat().st_gid) == (4711, 4712)


@pytest.mark.skipif(sys.platform != "linux", reason="the calls are Linux's")
def test_the_new_file_has_the_extended_attributes_of_the_old_one(tmp_path: Path) -> None:
    """Access control lists are among them."""
    path = tmp_path / "gateway.yaml"
    path.write_bytes(OLD)
    try:
        os.setxattr(path, "user.origin", b"git")
    except OSError:
        pytest.skip("this file system has no extended attributes")

    place(path, NEW)
    assert os.getxattr(path, "user.origin") == b"git"


def test_a_group_that_cannot_be_kept_is_not_replaced_by_another_that_could_then_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_bytes(OLD)
    path.chmod(0o664)
    foreign = os.stat_result((*path.stat()[:5], path.stat().st_gid + 1, *path.stat()[6:]))

    def refuse(descriptor: int, user: int, group: int) -> None:
        raise PermissionError(errno.EPERM, "not yours")

    monkeypatch.setattr(os, "fchown", refuse)
    monkeypatch.setattr(placing, "_status", lambda path: foreign)
    place(path, NEW)

    assert mode(path) == 0o604


@pytest.mark.parametrize(("asked", "made"), [(0o666, 0o640), (0o600, 0o600)])
def test_a_file_that_replaces_none_obeys_the_umask(tmp_path: Path, asked: int, made: int) -> None:
    before = os.umask(0o027)
    try:
        place(tmp_path / "gateway.yaml", NEW, mode=asked)
    finally:
        os.umask(before)

    assert mode(tmp_path / "gateway.yaml") == made


def test_a_file_that_replaces_none_can_be_like_another(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_bytes(OLD)
    (tmp_path / "other.yaml").chmod(0o604)

    place(tmp_path / "gateway.yaml", NEW, like=tmp_path / "other.yaml")

    assert mode(tmp_path / "gateway.yaml") == 0o604


def test_before_it_has_its_mode_nobody_else_can_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    path = tmp_path / "gateway.yaml"
    path.write_bytes(OLD)
    path.chmod(0o644)
    set_mode = os.fchmod

    def look(descriptor: int, wanted: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        set_mode(descriptor, wanted)

    monkeypatch.setattr(os, "fchmod", look)
    place(path, NEW)

    assert seen == [0o600]


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_old(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as failed:
        put_new(tmp_path)

    assert (tmp_path / "gateway.yaml").read_bytes() == OLD
    assert names(tmp_path) == ["gateway.yaml"]
    assert str(explain(tmp_path / "gateway.yaml", failed.value)) == (
        f"{tmp_path}/gateway.yaml cannot be replaced: the disk is full: free some space, then try again"
    )


def test_what_can_be_placed_is_left_alone_by_the_check(tmp_path: Path) -> None:
    check_placeable(tmp_path / "new.yaml")
    put_old(tmp_path)
    check_placeable(tmp_path / "gateway.yaml")

    assert names(tmp_path) == ["gateway.yaml"]


def test_a_link_is_refused_and_its_target_named(tmp_path: Path) -> None:
    """As Kubernetes mounts a ConfigMap."""
    (tmp_path / "..data").mkdir()
    put_old(tmp_path / "..data")
    (tmp_path / "gateway.yaml").symlink_to("..data/gateway.yaml")

    with pytest.raises(NotPlaceableError, match=r"is a symbolic link to \.\.data/gateway\.yaml: change the"):
        check_placeable(tmp_path / "gateway.yaml")


def test_what_is_no_file_or_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "directory.yaml").mkdir()

    with pytest.raises(NotPlaceableError, match="is not a file"):
        check_placeable(tmp_path / "directory.yaml")
    with pytest.raises(NotPlaceableError, match="its directory does not exist: make it"):
        check_placeable(tmp_path / "nowhere" / "gateway.yaml")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_may_not_be_written_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(NotPlaceableError, match="may not write to its directory"):
            check_placeable(tmp_path / "gateway.yaml")
    finally:
        tmp_path.chmod(0o700)
