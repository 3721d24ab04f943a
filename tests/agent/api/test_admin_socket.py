"""The unix socket of the API: our own, or one that was handed over, but none that is open to everybody."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from agent.api.admin_socket import ADMIN_SOCKET, admin_socket
from agent.process.own_socket import OwnSocketError, bind_own_socket
from tests.support.handing_over import handed_over


def connect(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.connect(str(path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "gateway.sock"


def test_it_is_nobody_elses_and_gone_at_the_end(path: Path) -> None:
    with admin_socket(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        connect(path)

    assert list(path.parent.iterdir()) == []


def test_what_is_in_its_way_is_told_in_the_words_of_the_state_file(path: Path) -> None:
    with admin_socket(path):
        with pytest.raises(OwnSocketError, match=r"another agent serves .*: stop it, or set socket in the"):
            bind_own_socket(path, ADMIN_SOCKET)
        connect(path)


@pytest.fixture
def handed(path: Path) -> socket.socket:
    """A socket that a service manager made at the path."""
    path.parent.mkdir()
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    made.listen()
    return made


@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_one_that_was_handed_over_is_used_and_stays_where_it_is(
    path: Path, handed: socket.socket, mode: int
) -> None:
    path.chmod(mode)
    with handed_over(handed) as inherited:
        with admin_socket(path, inherited) as listening:
            connect(path)
            listening.accept()[0].close()
        assert path.is_socket()
        connect(path)  # whoever comes while nobody serves it waits


def test_one_that_was_handed_over_and_is_open_to_everybody_is_refused(
    path: Path, handed: socket.socket
) -> None:
    """Whoever can connect may change everything, and 0666 is what a unit has that says nothing."""
    path.chmod(0o666)
    with handed_over(handed) as inherited, pytest.raises(OwnSocketError, match="SocketMode=0600"):
        admin_socket(path, inherited).__enter__()
