"""What a service manager says in the environment, and how it is answered."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agent.process.systemd import Notifier, take_service
from tests.support.journal import Journal


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The end of the service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.setblocking(False)
        yield bound


def test_what_is_told_together_arrives_in_one_datagram(manager: socket.socket) -> None:
    notifier = Notifier(manager.getsockname())
    assert notifier.is_wanted

    notifier.tell("READY=1", "STATUS=3 tunnels")
    notifier.tell("WATCHDOG=1")

    assert manager.recv(4096) == b"READY=1\nSTATUS=3 tunnels"
    assert manager.recv(4096) == b"WATCHDOG=1"
    notifier.close()


def test_an_abstract_name_is_told_too() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(f"\0tidegate-test-{os.getpid()}")
        notifier = Notifier(f"@tidegate-test-{os.getpid()}")

        notifier.tell("READY=1")

        assert bound.recv(4096) == b"READY=1"
        notifier.close()


def test_nobody_is_told_who_has_not_asked() -> None:
    notifier = Notifier("")
    notifier.tell("READY=1")

    assert not notifier.is_wanted


@pytest.mark.parametrize("address", ["vsock:2:9999", "relative/path"])
def test_what_is_no_unix_socket_is_logged_and_nobody_is_told(address: str, journal: Journal) -> None:
    notifier = Notifier(address)
    notifier.tell("READY=1")

    assert not notifier.is_wanted
    assert "is no unix socket" in journal.find("service_manager_not_told")[0]["reason"]


def test_a_service_manager_that_has_gone_is_logged_once(tmp_path: Path, journal: Journal) -> None:
    notifier = Notifier(str(tmp_path / "nobody"))
    notifier.tell("READY=1")
    notifier.tell("STOPPING=1")

    assert len(journal.find("service_manager_not_told")) == 1
    notifier.close()


def test_what_there_is_no_room_for_is_told_later_and_in_order(manager: socket.socket) -> None:
    """Nobody waits for a service manager that is slow, and nothing is lost for it."""
    notifier = Notifier(manager.getsockname())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others:
        others.setblocking(False)
        sent = 0
        with suppress(BlockingIOError):
            while True:
                others.sendto(b"", manager.getsockname())
                sent += 1

    notifier.tell("READY=1")
    notifier.tell("STOPPING=1")
    for _ in range(sent):
        assert manager.recv(4096) == b""
    notifier.flush()

    assert [manager.recv(4096), manager.recv(4096)] == [b"READY=1", b"STOPPING=1"]
    notifier.close()


def test_what_was_said_is_taken_out_of_the_environment(manager: socket.socket) -> None:
    environment = {
        "NOTIFY_SOCKET": manager.getsockname(),
        "WATCHDOG_USEC": "20000000",
        "WATCHDOG_PID": str(os.getpid()),
        "LISTEN_PID": "1",
        "LISTEN_FDS": "1",
        "LISTEN_FDNAMES": "a",
        "HOME": "/",
    }

    service = take_service(environment)

    assert environment == {"HOME": "/"}
    assert service.notifier.is_wanted
    assert service.watchdog == 20.0
    service.notifier.close()


def test_without_a_service_manager_nothing_is_wanted() -> None:
    service = take_service({})

    assert (service.notifier.is_wanted, service.watchdog, service.sockets.warnings) == (False, None, ())


@pytest.mark.parametrize(
    "said",
    [
        {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "-1"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "9" * 40},
    ],
    ids=["another process", "zero", "negative", "words", "for ever"],
)
def test_a_watchdog_that_is_not_ours_or_makes_no_sense_is_not_fed(said: dict[str, str]) -> None:
    assert take_service(said).watchdog is None


def test_sockets_of_another_process_are_not_touched_and_it_is_told() -> None:
    (warning,) = take_service({"LISTEN_PID": "1", "LISTEN_FDS": "1"}).sockets.warnings

    assert "handed over to the process '1'" in warning
    assert "(exec)" in warning


@pytest.mark.parametrize("count", ["many", "-1", "1000000000", "9" * 40])
def test_a_number_of_sockets_that_makes_no_sense_is_told(count: str) -> None:
    (warning,) = take_service({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}).sockets.warnings

    assert "is no number of sockets" in warning


def test_no_sockets_are_no_trouble() -> None:
    assert take_service({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"}).sockets.warnings == ()
