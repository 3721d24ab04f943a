"""The state files as they are on disk at one moment."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconcile import reading
from reconcile.reading import (
    StateText,
    UnreadableError,
    fragments,
    read_documents,
    read_regular,
    take_snapshot,
)


def refusal(path: Path, *, owned: Path | None = None) -> str:
    with pytest.raises(UnreadableError) as caught:
        take_snapshot(path, owned=owned)
    assert caught.value.problem.place is not None
    return caught.value.problem.message


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gw.yaml"
    path.write_bytes(b"tidegate: 1\n")
    return path


def test_a_file_is_read_with_its_name_and_the_directory_of_its_paths(file: Path) -> None:
    (text,) = take_snapshot(file).texts

    assert (text.name, text.directory, text.data, text.owned) == (
        str(file),
        str(file.parent),
        b"tidegate: 1\n",
        False,
    )


def test_the_bytes_of_a_state_file_are_not_in_its_repr(file: Path) -> None:
    assert "tidegate: 1" not in repr(take_snapshot(file))


def test_the_digest_is_that_of_the_lines_of_sha256sum(file: Path, tmp_path: Path) -> None:
    owned = tmp_path / "declared.toml"
    owned.write_bytes(b"tidegate = 1\n")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in (file, owned)]

    assert take_snapshot(file, owned=owned).digest == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_the_digest_is_the_same_wherever_the_directory_is(file: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / file.name
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(file.read_bytes())

    assert take_snapshot(elsewhere).digest == take_snapshot(file).digest


def test_an_owned_fragment_comes_last_and_may_be_absent(file: Path, tmp_path: Path) -> None:
    owned = tmp_path / "a.toml"
    assert len(take_snapshot(file, owned=owned).texts) == 1

    owned.write_bytes(b"")
    assert [(text.name, text.owned) for text in take_snapshot(file, owned=owned).texts] == [
        (str(file), False),
        (str(owned), True),
    ]


def test_a_directory_is_its_fragments_sorted_by_name(tmp_path: Path) -> None:
    for name in (
        "20-b.toml",
        "10-a.yaml",
        "30-c.JSON",
        ".hidden.yaml",
        "README.md",
        "a.yaml~",
        "x.yaml.swp",
        "y.schema.json",
    ):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()

    assert [path.name for path in fragments(tmp_path)] == ["10-a.yaml", "20-b.toml", "30-c.JSON"]


def test_the_owned_fragment_is_not_read_twice_where_it_lies_among_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").touch()
    owned = tmp_path / "sub" / ".." / "declared.toml"
    (tmp_path / "sub").mkdir()
    owned.touch()

    assert [text.owned for text in take_snapshot(tmp_path, owned=owned).texts] == [False, True]


def test_a_missing_file_is_a_problem_that_says_what_to_do(tmp_path: Path) -> None:
    assert refusal(tmp_path / "gw.yaml") == "there is no such file; create it or correct the path"


def test_a_path_through_a_file_is_a_problem(file: Path) -> None:
    assert "is a file, not a directory" in refusal(file / "gw.yaml")


def test_a_directory_without_state_files_is_a_problem(tmp_path: Path) -> None:
    assert refusal(tmp_path) == (
        "this directory holds no state files; put one into it (*.yaml, *.toml, *.json)"
    )


def test_a_directory_that_looks_like_a_fragment_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "sub.yaml").mkdir()

    assert refusal(tmp_path) == "it is a directory, not a file; correct the path"


def test_links_in_a_circle_are_a_problem(tmp_path: Path) -> None:
    (tmp_path / "gw.yaml").symlink_to("gw.yaml")

    assert "in a circle" in refusal(tmp_path / "gw.yaml")


def test_a_link_to_nothing_is_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "gw.yaml").symlink_to("nothing.yaml")

    assert "no such file" in refusal(tmp_path / "gw.yaml")


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory with a path short enough for the address of a unix socket."""
    with tempfile.TemporaryDirectory(prefix="tg") as name:
        yield Path(name)


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def link_device(path: Path) -> None:
    path.symlink_to("/dev/null")


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("make", "what"), [(make_fifo, "a named pipe"), (make_socket, "a socket"), (link_device, "a device")]
)
def test_whatever_is_no_file_neither_blocks_nor_passes(
    short_path: Path, make: Callable[[Path], None], what: str
) -> None:
    path = short_path / "gw.yaml"
    make(path)

    assert refusal(path) == f"it is {what}, not a file; correct the path"


def test_a_file_that_may_not_be_read_is_a_problem(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: Path, flags: int) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", deny)  # root, who may run these tests, may read everything

    assert refusal(file) == "this process may not read it; change its owner or mode"


def test_any_other_error_of_the_system_is_told_in_its_words(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int, size: int) -> bytes:
        raise OSError(74, "Bad message")

    monkeypatch.setattr(os, "read", fail)

    assert refusal(file) == "it cannot be read: Bad message"


def test_a_file_at_the_limit_is_read_and_a_larger_one_is_a_problem(file: Path) -> None:
    limit = 1 << 20
    file.write_bytes(b"#" * limit)
    data, _ = read_regular(file, name="gw.yaml", limit=limit)
    assert len(data) == limit

    file.write_bytes(b"#" * (limit + 1))
    with pytest.raises(UnreadableError, match="larger than 1 MiB"):
        read_regular(file, name="gw.yaml", limit=limit)


def test_too_many_fragments_are_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "FRAGMENT_LIMIT", 2)
    for name in "abc":
        (tmp_path / f"{name}.yaml").touch()

    assert "more than 2 state files" in refusal(tmp_path)


def test_files_that_change_while_they_are_read_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_bytes(b"old a")
    second.write_bytes(b"old b")
    real = read_regular

    def swap_after_the_first(path: Path, *, name: str) -> tuple[bytes, os.stat_result]:
        result = real(path, name=name)
        if result[0] == b"old a":
            for file in (first, second):
                file.with_suffix(".new").write_bytes(b"new " + file.stem.encode())
                file.with_suffix(".new").replace(file)
        return result

    monkeypatch.setattr(reading, "read_regular", swap_after_the_first)

    assert [text.data for text in take_snapshot(tmp_path).texts] == [b"new a", b"new b"]


def test_a_directory_that_never_rests_is_a_problem_and_not_an_endless_loop(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = read_regular

    def touch(path: Path, *, name: str) -> tuple[bytes, os.stat_result]:
        result = real(path, name=name)
        path.write_bytes(result[0] + b"#")
        return result

    monkeypatch.setattr(reading, "read_regular", touch)

    assert "changes faster than it can be read" in refusal(file)


def test_what_can_be_read_is_read_and_every_problem_of_the_rest_is_told() -> None:
    good = StateText(name="a.yaml", directory=".", data=b"tidegate: 1\n", owned=True)
    bad = StateText(name="b.yaml", directory=".", data=b"a: [\n")
    unknown = StateText(name="c.txt", directory=".", data=b"")

    documents, problems = read_documents([good, bad, unknown])

    assert [(document.name, document.owned) for document in documents] == [("a.yaml", True)]
    assert [str(problem).partition(":")[0] for problem in problems] == ["b.yaml", "c.txt"]
