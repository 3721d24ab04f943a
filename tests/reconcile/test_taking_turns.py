"""Whoever changes the files of a state does it alone."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reconcile.taking_turns import TurnHeldError, turn, turn_path

HOLD = """\
import sys, pathlib
from reconcile.taking_turns import turn
with turn(pathlib.Path(sys.argv[1]), holder="tidegate apply"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["file", "directory"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "gateway"
    if request.param == "file":
        path.write_text("tidegate: 1\n")
    else:
        path.mkdir()
    return path


def test_a_second_one_is_told_who_holds_it(state: Path) -> None:
    def second() -> None:
        with turn(state, holder="tidegate apply"):
            pass

    with turn(state, holder="tidegate rollback"), pytest.raises(TurnHeldError) as refused:
        second()

    assert str(refused.value) == (
        f"tidegate rollback, process {os.getpid()} is just changing {state}: "
        "wait until it has ended, then try again"
    )


def test_nothing_is_left_of_it(state: Path) -> None:
    with turn(state, holder="tidegate apply"):
        assert turn_path(state).exists()
        assert turn_path(state).name.startswith(".")

    assert not turn_path(state).exists()
    with turn(state, holder="tidegate apply"):
        pass


def test_it_ends_with_the_process_that_holds_it(state: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holding:
        assert holding.stdout is not None
        assert holding.stdout.readline() == "held\n"
        held = re.escape(f"tidegate apply, process {holding.pid} is")
        with pytest.raises(TurnHeldError, match=held), turn(state, holder="tidegate confirm"):
            pass
        holding.kill()

    with turn(state, holder="tidegate apply"):
        pass


def test_whoever_has_patience_gets_it_when_it_is_free(state: Path) -> None:
    order: list[str] = []
    begun = threading.Event()

    def wait() -> None:
        begun.set()
        with turn(state, holder="second", patience=60):
            order.append("second")

    waiting = threading.Thread(target=wait)
    with turn(state, holder="first"):
        waiting.start()
        begun.wait()
        order.append("first")
    waiting.join()

    assert order == ["first", "second"]


def test_many_at_once_hold_it_one_after_the_other(state: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        for _ in range(20):
            with turn(state, holder=f"worker {number}", patience=60):
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert (max(most), len(most)) == (1, 60)


def test_a_file_system_without_locks_is_no_reason_to_change_nothing(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with turn(state, holder="tidegate apply"):
        pass
    assert not turn_path(state).exists()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    state = tmp_path / "gateway.yaml"
    (tmp_path / "victim").write_text("precious")
    turn_path(state).symlink_to(tmp_path / "victim")

    with pytest.raises(OSError, match="symbolic links"), turn(state, holder="tidegate apply"):
        pass
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_directory_that_may_not_be_written_to_is_told_as_that_and_not_as_missing(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refuse(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError), turn(state, holder="tidegate apply"):
        pass
