"""A socket to the first address that answers, from a port that may be chosen."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import anyio
import pytest

from agent.client.connecting import PortsTakenError, connect
from schemas.names import ListenAddress
from schemas.ports import PortRange
from tests.support.journal import PATIENCE
from tests.support.peers import blackhole, free_listen, free_port_of, service, until
from tests.support.site import free_ports

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]


@pytest.fixture
def connections() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def neighbours(count: int) -> PortRange:
    """So many ports beside each other that nobody uses now, on whichever address."""
    found: list[int] = []
    for port in free_ports("0.0.0.0"):
        found = [*found, port] if found and port == found[-1] + 1 else [port]
        if len(found) == count:
            return PortRange(found[0], found[-1])
    raise AssertionError


async def dial(
    addresses: Sequence[str], port: int, connections: ExitStack, local_ports: PortRange | None = None
) -> int:
    """Connect; the port that was dialed from."""
    connection = await connect(addresses, port, patience=PATIENCE, local_ports=local_ports)
    connections.callback(connection.close)
    local: int = connection.getsockname()[1]
    return local


def elsewhere() -> str:
    """An address at which nobody listens."""
    return free_listen().host


async def test_a_socket_does_not_block_and_says_small_words_at_once() -> None:
    with service() as there:
        host, _, port = there.target.rpartition(":")
        connection = await connect((host,), int(port), patience=PATIENCE)
        with connection:
            assert connection.getpeername() == (host, int(port))
            assert not connection.getblocking()
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_addresses_are_tried_in_turn(connections: ExitStack) -> None:
    address = free_listen()
    with service(address) as there:
        await dial((elsewhere(), address.host), address.port, connections)

        assert there.has_caller()


async def test_the_last_error_is_told_if_none_answers() -> None:
    address = free_listen()

    with pytest.raises(ConnectionRefusedError):
        await connect((address.host, elsewhere()), address.port, patience=PATIENCE)
    with pytest.raises(OSError, match="no address"):
        await connect((), 1, patience=PATIENCE)


async def test_an_address_that_does_not_answer_leaves_time_for_the_next_one() -> None:
    with blackhole() as hole:
        other = ListenAddress(free_listen().host, hole.address.port)
        with service(other) as there:
            connection = await connect((hole.address.host, other.host), other.port, patience=0.2)
            with connection:
                assert there.has_caller()
            await until(lambda: not hole.has_caller())


async def test_an_address_that_does_not_answer_is_given_up() -> None:
    with blackhole() as hole:
        with pytest.raises(TimeoutError):
            await connect((hole.address.host,), hole.address.port, patience=0.05)
        await until(lambda: not hole.has_caller())


async def test_a_cancelled_attempt_leaves_nothing_open() -> None:
    with blackhole() as hole:
        with anyio.move_on_after(0.05):
            await connect((hole.address.host,), hole.address.port, patience=PATIENCE)
        await until(lambda: not hole.has_caller())


async def test_it_is_dialed_from_the_ports_that_are_allowed_and_each_has_its_own(
    connections: ExitStack,
) -> None:
    address, ports = free_listen(), neighbours(3)
    with service(address):
        used = [await dial((address.host,), address.port, connections, ports) for _ in range(3)]

    assert used == [ports.first, ports.first + 1, ports.last]


async def test_a_port_that_somebody_else_has_is_passed_over(connections: ExitStack) -> None:
    address, ports = free_listen(), neighbours(2)
    with service(address), socket.create_server(("0.0.0.0", ports.first)):
        assert await dial((address.host,), address.port, connections, ports) == ports.last


async def test_a_port_of_ipv6_is_not_that_of_ipv4(connections: ExitStack) -> None:
    address, ports = free_port_of("::1"), neighbours(1)
    with service(address), socket.create_server(("0.0.0.0", ports.first)):
        assert await dial((address.host,), address.port, connections, ports) == ports.first


async def test_when_all_ports_are_taken_this_is_told(connections: ExitStack) -> None:
    address, ports = free_listen(), neighbours(1)
    with service(address):
        await dial((address.host,), address.port, connections, ports)

        with pytest.raises(PortsTakenError) as caught:
            await connect((address.host,), address.port, patience=PATIENCE, local_ports=ports)

    assert f"no port of client.local_ports ({ports}) is free" in str(caught.value)
    assert "widen the range" in str(caught.value)


async def test_a_refusal_is_not_taken_for_a_port_in_use() -> None:
    address = free_listen()

    with pytest.raises(ConnectionRefusedError):
        await connect((address.host,), address.port, patience=PATIENCE, local_ports=neighbours(3))


async def test_a_port_can_be_used_for_another_gateway_and_again_when_it_is_free(
    connections: ExitStack,
) -> None:
    one, two, ports = free_listen(), free_listen(), neighbours(1)
    with service(one) as there, service(two):
        first = await connect((one.host,), one.port, patience=PATIENCE, local_ports=ports)
        assert await dial((two.host,), two.port, connections, ports) == ports.first
        (await there.accept()).reset()
        first.close()
        assert await dial((one.host,), one.port, connections, ports) == ports.first
