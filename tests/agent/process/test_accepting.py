"""Accepting goes on, whatever happens to a connection or to the machine."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import anyio
import pytest

from agent.api.admin_socket import ADMIN_SOCKET
from agent.process.accepting import accept, accept_from, host_of, name_of
from agent.process.bind import bind
from agent.process.descriptors import Use
from agent.process.own_socket import bind_own_socket
from tests.support.descriptors import no_descriptors_left, room_left
from tests.support.journal import Journal
from tests.support.peers import free_listen, free_port_of, unconnected, visit

pytestmark = pytest.mark.anyio


async def test_an_accepted_connection_does_not_block() -> None:
    address = free_listen()

    with bind(address) as listening:
        async with visit(address):
            with await accept(listening) as connection:
                assert not connection.getblocking()


async def test_it_waits_for_the_next_connection() -> None:
    address = free_listen()
    accepted: list[socket.socket] = []

    async def wait(listening: socket.socket) -> None:
        accepted.append(await accept(listening))

    with bind(address) as listening:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, listening)
            await anyio.wait_all_tasks_blocked()
            assert not accepted
            async with visit(address):
                pass
    accepted[0].close()


async def test_without_descriptors_it_says_so_and_waits_until_there_are_some_again(journal: Journal) -> None:
    address = free_listen()
    accepted: list[socket.socket] = []

    async def wait(listening: socket.socket) -> None:
        accepted.append(await accept(listening))

    with bind(address) as listening:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, listening)
            with unconnected(address) as visitor, no_descriptors_left():
                await visitor.connect(address)
                line = await journal.wait_for("accept_failed")
                assert not accepted
    accepted[0].close()

    assert line["reason"] == "Too many open files"


async def test_the_descriptors_that_the_agent_needs_itself_are_for_no_session(journal: Journal) -> None:
    address = free_listen()

    with bind(address) as listening:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(accept, listening)
            with unconnected(address) as visitor, room_left(Use.SESSION, 0):
                await visitor.connect(address)
                line = await journal.wait_for("accept_failed")
                assert "raise the limit (LimitNOFILE, ulimit -n)" in line["reason"]
                assert await visitor.receive_all() == b""
            tasks.cancel_scope.cancel()


async def test_the_admin_socket_may_have_what_is_kept_for_the_agent_itself(tmp_path: Path) -> None:
    with (
        bind_own_socket(tmp_path / "admin.sock", ADMIN_SOCKET) as listening,
        socket.socket(socket.AF_UNIX) as caller,
    ):
        caller.connect(str(tmp_path / "admin.sock"))
        with room_left(Use.SESSION, 0):
            (await accept(listening)).close()


async def test_a_socket_that_is_of_no_more_use_is_an_error() -> None:
    with socket.socket() as not_listening:
        not_listening.setblocking(False)
        with pytest.raises(OSError, match="Invalid argument"):
            await accept(not_listening)


async def test_a_peer_has_its_address_for_a_name() -> None:
    address = free_listen()

    with bind(address) as listening:
        async with visit(address) as visitor:
            connection, peer = await accept_from(listening)
            with connection:
                assert name_of(peer) == visitor.address
                assert host_of(peer) == "127.0.0.1"


async def test_a_peer_with_an_ipv6_address_is_written_in_brackets() -> None:
    address = free_port_of("::1")

    with bind(address) as listening:
        async with visit(address) as visitor:
            connection, peer = await accept_from(listening)
            with connection:
                assert name_of(peer) == f"[::1]:{visitor.socket.getsockname()[1]}"
                assert host_of(peer) == "::1"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody tells who has gone again")
async def test_a_peer_that_has_gone_again_is_known_all_the_same() -> None:
    address = free_listen()

    with bind(address) as listening:
        async with visit(address) as visitor:
            name = visitor.address
            visitor.reset()
        connection, peer = await accept_from(listening)
        with connection:
            assert name_of(peer) == name


@pytest.mark.parametrize("address", ["", None, ()])
def test_a_peer_without_an_address_has_no_name(address: object) -> None:
    assert (name_of(address), host_of(address)) == ("?", "?")
