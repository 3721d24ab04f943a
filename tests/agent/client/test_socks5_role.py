"""A client's SOCKS5 port follows its file, and the client waits for those who use it when it stops."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio.lowlevel
import pytest

from agent.client.role import Client
from agent.gateway.role import Gateway
from schemas.names import ListenAddress
from schemas.status import Life, Socks5Status
from tests.support.journal import Journal
from tests.support.peers import Peer, Service, free_listen, service, until, visit
from tests.support.roles import CLIENT, Files, running
from tests.support.socks5_programs import OPEN, at, hear_success, password_in, request
from transport.wire.socks5 import Login, encode_login

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

MAIL: Final = Login(b"mail", b"secret")
LETS_EVERYTHING: Final = f'egress:\n  allow: [{{client: {CLIENT}, to: ["127.0.0.0/8"], ports: "*"}}]\n'


class Place:
    """A gateway that lets its client reach this machine, and that client."""

    def __init__(self, directory: Path, far: Service, other: Service) -> None:
        self.files = Files(directory)
        self.far = at(far)
        self.there = far
        self._web = other
        self.listen = free_listen()
        self.gateway = Gateway(self.files.gateway(end=LETS_EVERYTHING))
        self.client = Client(self.write())

    def write(self, listen: ListenAddress | str | None = None, more: str = "") -> Path:
        """The client's file, with a port there."""
        path = self.files.client(self._web.target)
        place = listen or self.listen
        path.write_text(f'{path.read_text()}socks5:\n  listen: "{place}"\n{more}')
        return path

    def write_without(self) -> None:
        self.files.client(self._web.target)

    @property
    def status(self) -> Socks5Status:
        status = self.client.status().socks5
        assert status is not None
        return status

    @asynccontextmanager
    async def led(self, login: Login | None = None) -> AsyncIterator[tuple[Peer, Peer]]:
        """A program that was led to the far end, and that."""
        async with visit(self.listen) as program:
            if login is None:
                await program.send(OPEN + request(self.far))
                await hear_success(program, behind=b"\x05\x00")
            else:
                await program.send(b"\x05\x01\x02" + encode_login(login) + request(self.far))
                await hear_success(program, behind=b"\x05\x02\x01\x00")
            yield program, await self.there.accept()


@asynccontextmanager
async def place(directory: Path, journal: Journal) -> AsyncIterator[Place]:
    with service() as far, service() as other:
        made = Place(directory, far, other)
        async with running(made.gateway), running(made.client):
            await journal.wait_for("link_up")
            yield made


async def still_talk(program: Peer, there: Peer) -> None:
    await program.send(b"still here")
    assert await there.receive_exactly(10) == b"still here"


async def is_refused(address: ListenAddress) -> None:
    with socket.socket() as late, pytest.raises(ConnectionRefusedError):
        late.connect((address.host, address.port))


async def test_a_program_is_led_and_the_status_of_both_sides_says_so(
    tmp_path: Path, journal: Journal
) -> None:
    async with place(tmp_path, journal) as here, here.led() as (program, there):
        await program.send(b"question")
        assert await there.receive_exactly(8) == b"question"
        await there.send(b"an answer")
        assert await program.receive_exactly(9) == b"an answer"

        assert (here.status.listen, here.status.user) == (str(here.listen), None)
        traffic = here.status.traffic
        assert (traffic.open, traffic.bytes_in, traffic.bytes_out) == (1, 9, 8)
        (client,) = here.gateway.status().clients
        assert (client.egress, client.traffic.bytes_in, client.traffic.bytes_out) == (1, 9, 8)
        assert f"socks5 {here.listen}" in {
            f"{resource.kind} {resource.name}" for resource in here.client.status().resources
        }


async def test_user_and_password_change_without_a_new_port_and_cut_nobody(
    tmp_path: Path, journal: Journal
) -> None:
    async with place(tmp_path, journal) as here, here.led() as (program, there):
        password_in(tmp_path)
        here.write(more="  user: mail\n  password: {file: socks5.password}\n")
        here.client.reload()
        await until(lambda: here.status.user == "mail")

        async with here.led(MAIL):
            await still_talk(program, there)
        async with visit(here.listen) as stranger:
            await stranger.send(OPEN)
            assert await stranger.receive_all() == b"\x05\xff"


async def test_a_password_that_was_written_anew_counts_from_then_on(tmp_path: Path, journal: Journal) -> None:
    async with place(tmp_path, journal) as here:
        password_in(tmp_path)
        here.write(more="  user: mail\n  password: {file: socks5.password}\n")
        here.client.reload()
        await until(lambda: here.status.user == "mail")

        password_in(tmp_path, "another\n")

        line = await journal.wait_for("keys_renewed")
        assert line["changed"] == ["socks5.password"]
        async with here.led(Login(b"mail", b"another")):
            pass


async def test_a_port_that_moves_leaves_those_who_use_it_where_they_are(
    tmp_path: Path, journal: Journal
) -> None:
    async with place(tmp_path, journal) as here, here.led() as (program, there):
        before, here.listen = here.listen, free_listen()
        here.write()
        here.client.reload()
        await until(lambda: here.client.status().socks5 is not None and here.status.listen != str(before))

        await is_refused(before)
        await still_talk(program, there)
        async with here.led() as others:
            await still_talk(*others)
        assert here.status.traffic.total == 2


async def test_a_port_that_is_taken_out_is_closed_and_cuts_nobody(tmp_path: Path, journal: Journal) -> None:
    async with place(tmp_path, journal) as here, here.led() as (program, there):
        here.write_without()
        here.client.reload()
        await until(lambda: here.client.status().socks5 is None)

        await is_refused(here.listen)
        await still_talk(program, there)


async def test_a_port_that_another_program_has_is_taken_as_soon_as_it_is_free(
    tmp_path: Path, journal: Journal
) -> None:
    async with place(tmp_path, journal) as here:
        here.listen = free_listen()
        with socket.socket() as taken:
            taken.bind((here.listen.host, here.listen.port))
            taken.listen()
            here.write()
            here.client.reload()
            line = await journal.wait_for("resource_failed")
            assert "is taken by another program" in str(line)
            assert not here.client.status().ready
        here.client.reload()
        await until(lambda: here.client.status().socks5 is not None)

        async with here.led() as peers:
            await still_talk(*peers)


async def test_a_socket_that_somebody_removed_comes_back(tmp_path: Path, journal: Journal) -> None:
    async with place(tmp_path, journal) as here:
        here.write("unix:socks.sock")
        here.client.reload()
        path = tmp_path / "socks.sock"
        await until(path.exists)
        await until(lambda: here.client.status().ready)

        path.unlink()
        here.client.reload()

        await until(path.exists)
        await until(lambda: here.client.status().ready)  # or the client would end in the middle of it


async def test_a_client_that_stops_lets_programs_finish_and_lets_no_others_in(
    tmp_path: Path, journal: Journal
) -> None:
    async with place(tmp_path, journal) as here, visit(here.listen) as undecided:
        await undecided.send(OPEN)
        assert await undecided.receive_exactly(2) == b"\x05\x00"
        async with here.led() as (program, there):
            here.client.lifetime.ask_to_stop()
            await journal.wait_for("drain_began", open=1)

            assert here.client.status().life is Life.DRAINING
            assert here.client.summary() == "Draining: 1 connection open"
            await undecided.wait_reset()
            await is_refused(here.listen)
            await still_talk(program, there)
            there.end()
            program.end()
            assert await program.receive_all() == b""
        await journal.wait_for("client_stopped")
        assert journal.find("drain_ended", dropped=0)


async def test_a_client_that_ends_at_once_drops_programs(tmp_path: Path, journal: Journal) -> None:
    with service() as far, service() as other:
        here = Place(tmp_path, far, other)
        async with running(here.gateway):
            async with running(here.client):
                await journal.wait_for("link_up")
                program = await _connected(here)
            await program.wait_reset()
            program.close()


async def _connected(here: Place) -> Peer:
    connection = socket.socket()
    program = Peer(connection)
    await program.connect(here.listen)
    await program.send(OPEN + request(here.far))
    await hear_success(program, behind=b"\x05\x00")
    await anyio.lowlevel.checkpoint()
    return program
