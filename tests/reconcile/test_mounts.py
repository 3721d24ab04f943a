"""Which files are mounted one by one."""

from __future__ import annotations

from pathlib import Path

from reconcile.mounts import mounted_files

LINE = "620 600 254:0 {root} {point} rw,relatime shared:5 - ext4 /dev/vda rw\n"


def table(directory: Path, *points: Path) -> Path:
    """The kernel's table with those mount points. It writes spaces as octal numbers."""
    path = directory / "mountinfo"
    lines = (LINE.format(root="/srv", point=str(point).replace(" ", "\\040")) for point in points)
    path.write_text(LINE.format(root="/", point="/") + "".join(lines))
    return path


def test_a_file_that_is_a_mount_is_found_by_its_directory(tmp_path: Path) -> None:
    file, other = tmp_path / "gateway.yaml", tmp_path / "elsewhere" / "x.yaml"
    other.parent.mkdir()
    for path in (file, other):
        path.touch()

    assert mounted_files({tmp_path}, table=table(tmp_path, file, other)) == {file}


def test_a_directory_that_is_a_mount_is_watched_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "states").mkdir()

    assert mounted_files({tmp_path}, table=table(tmp_path, tmp_path / "states")) == set()


def test_a_name_with_spaces_is_read_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "my gateway.yaml"
    file.touch()

    assert mounted_files({tmp_path}, table=table(tmp_path, file)) == {file}


def test_the_table_of_this_machine_can_be_read(tmp_path: Path) -> None:
    assert mounted_files({tmp_path}) == set()


def test_where_there_is_no_table_nothing_is_mounted(tmp_path: Path) -> None:
    assert mounted_files({tmp_path}, table=tmp_path / "none") == set()
