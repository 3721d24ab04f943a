"""Whether somebody may still be writing files."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconcile.writers import Writers, is_git_at_work, writers_of
from tests.support.real_software import Programs

only_on_linux = pytest.mark.skipif(sys.platform != "linux", reason="leases are Linux's")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gw.yaml"
    path.write_text("tidegate: 1\n")
    return path


@pytest.fixture
def nobody_may_ask(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As it is where the file belongs to another user, or the file system knows no leases."""

    def refuse(descriptor: int, command: int, argument: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "fcntl", refuse)
        yield


@only_on_linux
def test_a_file_that_was_written_and_closed_has_no_writer(file: Path) -> None:
    assert writers_of(file) is Writers.NOBODY


@only_on_linux
def test_whoever_has_it_open_for_writing_is_seen_until_it_is_closed(file: Path) -> None:
    with file.open("a"):
        assert writers_of(file) is Writers.SOMEBODY
    assert writers_of(file) is Writers.NOBODY


@only_on_linux
def test_whoever_has_it_open_for_reading_is_no_writer(file: Path) -> None:
    with file.open():
        assert writers_of(file) is Writers.NOBODY


@only_on_linux
def test_a_writer_who_has_closed_it_and_still_has_it_mapped_is_seen(file: Path) -> None:
    with file.open("r+b") as opened:
        memory = mmap.mmap(opened.fileno(), 0)
    with memory:
        assert writers_of(file) is Writers.SOMEBODY


@only_on_linux
def test_a_writer_in_another_process_is_seen(file: Path) -> None:
    with file.open("a") as opened, subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=opened) as writer:
        opened.close()
        assert writers_of(file) is Writers.SOMEBODY
        writer.communicate()
    assert writers_of(file) is Writers.NOBODY


@only_on_linux
def test_asking_keeps_nobody_from_writing(file: Path) -> None:
    """The lease is given back, and the signal by which the kernel asks for it would not end the process."""
    for _ in range(100):
        assert writers_of(file) is Writers.NOBODY
        descriptor = os.open(file, os.O_WRONLY | os.O_NONBLOCK)  # refused while there is a lease
        os.close(descriptor)


@pytest.mark.usefixtures("nobody_may_ask")
def test_where_nobody_may_ask_a_write_of_just_now_says_nothing(file: Path) -> None:
    assert writers_of(file) is Writers.UNKNOWN


@pytest.mark.usefixtures("nobody_may_ask")
def test_where_nobody_may_ask_setting_the_times_says_that_the_writer_was_done(file: Path) -> None:
    os.utime(file, (1, 1))
    assert writers_of(file) is Writers.NOBODY

    with file.open("a") as opened:
        opened.write("tunnels: []\n")
    assert writers_of(file) is Writers.UNKNOWN


def test_of_a_file_that_is_not_there_nothing_is_known(tmp_path: Path) -> None:
    assert writers_of(tmp_path / "gw.yaml") is Writers.UNKNOWN


def test_git_is_at_work_while_it_has_its_index_locked(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    state = tmp_path / "sites" / "gw.yaml"
    assert not is_git_at_work(state)
    (tmp_path / ".git" / "index.lock").touch()
    assert is_git_at_work(state)


@pytest.mark.real_software("git")
def test_git_has_its_index_locked_while_it_puts_files_in_their_places(
    tmp_path: Path, programs: Programs
) -> None:
    """A filter that Git runs for a file, as Git LFS is one, looks whether the lock is there."""
    (tmp_path / "gw.yaml").write_text("tidegate: 1\n")
    (tmp_path / ".gitattributes").write_text("gw.yaml filter=look\n")
    git = (programs["git"], "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.com")
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=x"]):
        subprocess.run([*git, *words], check=True)
    (tmp_path / "gw.yaml").unlink()

    look = f"filter.look.smudge=test -e '{tmp_path}/.git/index.lock' && echo locked"
    subprocess.run([*git, "-c", look, "reset", "--quiet", "--hard"], check=True)

    assert (tmp_path / "gw.yaml").read_text() == "locked\n"
