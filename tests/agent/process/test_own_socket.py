"""A unix socket of our own: nobody else's, never a dead one, and gone at the end."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.process import own_socket as module
from agent.process.own_socket import LONGEST, OwnSocket, OwnSocketError, SocketUse, bind_own_socket

USE = SocketUse(name="the odd socket", setting="odd", example="/run/odd.sock", rival="another program")


@contextmanager
def own_socket(path: Path) -> Iterator[socket.socket]:
    made = OwnSocket(path, USE)
    try:
        yield made.listening
    finally:
        made.close()


def connect(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.connect(str(path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "gateway.sock"


def test_only_its_owner_may_use_it(path: Path) -> None:
    before = os.umask(0)  # however permissive whoever starts the agent is
    try:
        with own_socket(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_nobody_else_could_use_it_even_before_its_mode_is_set(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    monkeypatch.setattr(Path, "chmod", lambda self, mode: modes.append(stat.S_IMODE(self.stat().st_mode)))
    before = os.umask(0)
    try:
        with own_socket(path):
            pass
    finally:
        assert os.umask(before) == 0  # which is as it was

    assert [mode & 0o077 for mode in modes] == [0]


def test_it_is_gone_at_the_end_and_the_directory_is_not(path: Path) -> None:
    with own_socket(path):
        connect(path)

    assert list(path.parent.iterdir()) == []


def test_one_that_is_removed_at_once_is_closed_and_told_of(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[socket.socket] = []

    def bind_and_lose(path: Path, use: SocketUse) -> socket.socket:
        made.append(bind_own_socket(path, use))
        path.unlink()
        return made[0]

    monkeypatch.setattr(module, "bind_own_socket", bind_and_lose)

    with pytest.raises(OwnSocketError, match="was removed as soon as it was made"):
        OwnSocket(path, USE)
    assert made[0].fileno() == -1


def test_what_a_dead_process_left_behind_is_replaced(path: Path) -> None:
    bind_own_socket(path, USE).close()
    assert path.exists()

    with own_socket(path):
        connect(path)


def test_a_socket_that_is_served_is_left_alone(path: Path) -> None:
    with own_socket(path):
        with pytest.raises(OwnSocketError, match=r"another program serves .*: stop it, or set odd"):
            bind_own_socket(path, USE)
        connect(path)


def test_a_socket_whose_queue_is_full_is_served_too(path: Path) -> None:
    with own_socket(path) as listening:
        listening.listen(0)
        callers = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(3)]
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(str(path))

        with pytest.raises(OwnSocketError, match="another program serves"):
            bind_own_socket(path, USE)

        for caller in callers:
            caller.close()


def test_a_file_in_its_place_is_not_removed(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("precious")

    with pytest.raises(OwnSocketError, match="is in the way of the odd socket: move it, or set odd"):
        bind_own_socket(path, USE)

    assert path.read_text() == "precious"


def test_a_path_that_no_unix_socket_can_have_is_told_with_its_length(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 120)

    with pytest.raises(OwnSocketError, match=rf"has {len(os.fsencode(path))} bytes and may have {LONGEST}"):
        bind_own_socket(path, USE)


def test_the_longest_path_that_is_legal_works(tmp_path: Path) -> None:
    path = tmp_path / ("x" * (LONGEST - len(os.fsencode(tmp_path)) - 1))

    with own_socket(path):
        connect(path)


@pytest.fixture
def busy(path: Path) -> Iterator[int]:
    """What another program has open while it looks whether the socket is served."""
    path.parent.mkdir()
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield descriptor
    os.close(descriptor)


def test_whoever_may_list_the_directory_cannot_keep_an_agent_from_starting(path: Path) -> None:
    path.parent.mkdir()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_SH)
        with own_socket(path):
            connect(path)
    finally:
        os.close(directory)


def test_nobody_else_may_open_what_makes_them_take_turns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []
    lock = Path(f"{path}.lock")
    monkeypatch.setattr(module, "_clear", lambda path, use: modes.append(stat.S_IMODE(lock.stat().st_mode)))

    with own_socket(path):
        assert not lock.exists()

    assert modes == [0o600]


@pytest.mark.parametrize("is_removed", [True, False])
def test_another_one_that_is_at_it_is_waited_for(
    path: Path, busy: int, is_removed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    def wait(seconds: float) -> None:
        """Meanwhile the other one is done, or is killed."""
        if is_removed and not waited:
            Path(f"{path}.lock").unlink()
        fcntl.flock(busy, fcntl.LOCK_UN)
        waited.append(seconds)

    monkeypatch.setattr(time, "sleep", wait)

    with own_socket(path):
        connect(path)

    assert len(waited) == 1
    assert list(path.parent.iterdir()) == []


def test_another_one_that_is_never_done_is_told(
    path: Path, busy: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.0)

    with pytest.raises(OwnSocketError, match=r"another program is about to make .* stop it, or set odd"):
        bind_own_socket(path, USE)


def test_of_many_that_start_at_once_one_has_it(path: Path) -> None:
    ready = threading.Barrier(8)

    def start() -> socket.socket | None:
        ready.wait()
        try:
            return bind_own_socket(path, USE)
        except OwnSocketError:
            return None

    with ThreadPoolExecutor(8) as threads:
        made = [one.result() for one in [threads.submit(start) for _ in range(8)]]

    (winner,) = (each for each in made if each is not None)
    with winner:
        connect(path)


def test_a_directory_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OwnSocketError, match=r"cannot be made: .*; set odd"):
        bind_own_socket(tmp_path / "file" / "gateway.sock", USE)


def test_a_successor_that_took_the_path_keeps_it(path: Path) -> None:
    with own_socket(path):
        path.unlink()
        successor = bind_own_socket(path, USE)

    with successor:
        connect(path)


def test_a_socket_that_was_removed_or_replaced_is_not_there(path: Path) -> None:
    made = OwnSocket(path, USE)
    seen = [made.is_there]
    path.unlink()
    seen.append(made.is_there)
    successor = OwnSocket(path, USE)
    seen.append(made.is_there)

    assert seen == [True, False, False]
    assert successor.is_there
    made.close()
    connect(path)
    successor.close()
    assert not path.exists()
