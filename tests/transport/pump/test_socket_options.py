"""A socket does as it is asked, and one that cannot any more is no error."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from typing import NoReturn

import pytest

from tests.transport.world import Plain
from transport.pump.socket_options import (
    KEEP_ALIVE_TIMES,
    address,
    is_broken,
    keep_alive,
    limit_unsent,
    reset_when_closed,
)

pytestmark = pytest.mark.anyio


class Refusing:
    """A socket of which both directions have ended, as macOS has it."""

    family = socket.AF_INET

    def getsockopt(self, level: int, option: int, /) -> NoReturn:
        raise OSError(errno.EINVAL, "Invalid argument")

    def setsockopt(self, level: int, option: int, value: object, /) -> NoReturn:
        raise OSError(errno.EINVAL, "Invalid argument")


@pytest.fixture
def pair() -> Iterator[tuple[Plain, Plain]]:
    """Both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far = server.accept()[0]
    with near, far:
        yield Plain(near), Plain(far)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (("192.0.2.1", 80), ("192.0.2.1", 80)),
        (("2001:db8::1", 80, 0, 0), ("2001:db8::1", 80)),
        ("/run/web.sock", ("?", 0)),
        ("", ("?", 0)),
        (None, ("?", 0)),
    ],
)
def test_who_has_no_address_is_somebody(name: object, expected: tuple[str, int]) -> None:
    assert address(name) == expected


async def test_a_socket_is_closed_with_a_reset_once_that_was_asked_for(pair: tuple[Plain, Plain]) -> None:
    near, far = pair
    reset_when_closed(near.socket)
    near.close()

    assert await far.is_reset()


def test_a_unix_socket_is_not_asked_for_what_it_cannot_do() -> None:
    near, far = socket.socketpair(socket.AF_UNIX)
    with near, far:
        reset_when_closed(near)
        near.close()
        assert far.recv(1) == b""


async def test_a_socket_that_was_reset_is_broken_and_one_that_lives_is_not(pair: tuple[Plain, Plain]) -> None:
    near, far = pair
    assert not is_broken(near.socket)
    far.reset()

    assert is_broken(near.socket)


def test_the_system_watches_the_far_end_of_a_socket_that_is_kept_alive(pair: tuple[Plain, Plain]) -> None:
    near, _ = pair
    assert not near.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    keep_alive(near.socket)

    assert near.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert [near.socket.getsockopt(socket.IPPROTO_TCP, option) for option, _ in KEEP_ALIVE_TIMES] == [
        90,
        15,
        6,
    ]


def test_who_has_set_other_times_keeps_them(pair: tuple[Plain, Plain]) -> None:
    near, _ = pair
    near.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    near.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 7)
    keep_alive(near.socket)

    assert near.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7


def test_a_system_that_refuses_is_no_error_and_says_that_the_socket_is_broken() -> None:
    """An error here would end the session of all visitors."""
    refusing = Refusing()
    reset_when_closed(refusing)
    keep_alive(refusing)

    assert is_broken(refusing)


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="this system has no such option")
def test_the_system_takes_no_more_than_it_may_beyond_what_it_has_sent(pair: tuple[Plain, Plain]) -> None:
    option = socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT
    limit_unsent(pair[0].socket, 16_384)
    assert pair[0].socket.getsockopt(*option) == 16_384
    limit_unsent(pair[0].socket, 0)
    assert pair[0].socket.getsockopt(*option) == 0
    limit_unsent(Refusing(), 16_384)


def test_a_unix_socket_has_no_such_limit() -> None:
    near, far = socket.socketpair()
    with near, far:
        limit_unsent(near, 16_384)
