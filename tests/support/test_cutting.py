"""The network that a test can cut: what comes through, and what each end hears when nothing does."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import pytest

from .cutting import CuttingProxy, cutting_proxy
from .services import accept, listening, reset, target
from .site import PATIENCE, connect, free_ports, own_address, read_all

LETTER = random.Random(3).randbytes(200 << 10)  # less than the sockets on the way hold


class Network:
    """A proxy, and both ends of connections through it."""

    def __init__(self, proxy: CuttingProxy, listen: str, listener: socket.socket) -> None:
        self.proxy = proxy
        self.listen = listen
        self.listener = listener

    def meet(self) -> tuple[socket.socket, socket.socket]:
        visitor = connect(self.listen)
        return visitor, accept(self.listener)


@pytest.fixture
def network() -> Iterator[Network]:
    address = own_address()
    listen = f"{address}:{next(free_ports(address))}"
    with listening() as listener, cutting_proxy(listen, target(listener)) as proxy:
        yield Network(proxy, listen, listener)


def has_nothing(end: socket.socket) -> bool:
    """Whether there is neither a byte nor an end to read now."""
    end.setblocking(False)
    try:
        end.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    finally:
        end.settimeout(PATIENCE)
    return False


def test_what_one_end_says_the_other_hears_and_each_direction_ends_alone(network: Network) -> None:
    visitor, service = network.meet()
    with visitor, service:
        visitor.sendall(LETTER)
        visitor.shutdown(socket.SHUT_WR)
        assert read_all(service) == LETTER
        service.sendall(LETTER[: 50 << 10])
        service.close()
        assert read_all(visitor) == LETTER[: 50 << 10]


def test_a_connection_that_has_ended_is_forgotten(network: Network) -> None:
    visitor, service = network.meet()
    assert network.proxy.connections == 1
    visitor.close()
    assert read_all(service) == b""
    service.close()
    with connect(network.listen) as another, accept(network.listener):
        another.sendall(b"x")
        assert network.proxy.connections == 1


def test_a_cut_connection_ends_on_both_sides(network: Network) -> None:
    visitor, service = network.meet()
    with visitor, service:
        assert network.proxy.cut() == 1
        assert read_all(visitor) == b""
        assert read_all(service) == b""


def test_a_broken_connection_is_reset_on_both_sides(network: Network) -> None:
    visitor, service = network.meet()
    with visitor, service:
        assert network.proxy.reset() == 1
        for end in (visitor, service):
            with pytest.raises(ConnectionResetError):
                end.recv(1)


def test_only_the_oldest_connections_are_cut_where_a_number_is_told(network: Network) -> None:
    old, old_service = network.meet()
    new, new_service = network.meet()
    with old, old_service, new, new_service:
        assert network.proxy.cut(1) == 1
        assert read_all(old) == b""
        new.sendall(b"still here")
        assert new_service.recv(100) == b"still here"


def test_a_reset_of_one_end_reaches_the_other(network: Network) -> None:
    visitor, service = network.meet()
    with service:
        reset(visitor)
        with pytest.raises(ConnectionResetError):
            service.recv(1)


def test_a_frozen_network_keeps_bytes_and_ends_to_itself_until_it_thaws(network: Network) -> None:
    visitor, service = network.meet()
    with visitor, service:
        network.proxy.freeze()
        visitor.sendall(b"are you there?")
        visitor.shutdown(socket.SHUT_WR)
        assert network.proxy.connections == 1  # and so it has looked around since
        assert has_nothing(service)
        network.proxy.thaw()
        assert read_all(service) == b"are you there?"


def test_a_slow_network_loses_nothing(network: Network) -> None:
    """At no bytes a second nothing comes; at any other rate everything does, in order."""
    visitor, service = network.meet()
    with visitor, service:
        network.proxy.slow_down(0)
        visitor.sendall(LETTER[:1000])
        assert network.proxy.connections == 1
        assert has_nothing(service)
        network.proxy.slow_down(50 << 20)
        visitor.sendall(LETTER[1000:])
        visitor.shutdown(socket.SHUT_WR)
        assert read_all(service) == LETTER


def test_who_comes_where_nobody_listens_is_reset(network: Network) -> None:
    network.listener.close()
    with pytest.raises(ConnectionResetError), connect(network.listen) as visitor:  # it may come that soon
        visitor.recv(1)
