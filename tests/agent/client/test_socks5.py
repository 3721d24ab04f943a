"""The SOCKS5 port opens, changes and closes as the state file says, and shuts nobody out who is in."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from agent.client import socks5 as module
from agent.client.socks5 import Socks5Ports
from agent.process.bind import Ports
from reconcile.actuator import ActionError
from schemas.names import HostPort, UnixTarget
from schemas.references import FileRef
from tests.support.descriptors import break_listening
from tests.support.handing_over import handed_over
from tests.support.journal import Journal
from tests.support.peers import Peer, free_listen, free_port_of, service, until
from tests.support.socks5_programs import OPEN, Socks, at, password_in, socks
from transport.pump.sockets import Server
from transport.wire.socks5 import Login

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

MAIL = Login(b"mail", b"secret")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "socks.sock"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def is_there(path: Path) -> bool:
    return path.exists()


def remove(path: Path) -> None:
    path.unlink()


async def can_log_in(here: Socks, login: Login) -> bool:
    """Whether that user and password are right."""
    async with here.program() as program:
        await program.send(b"\x05\x01\x02" + bytes([1, len(login.user)]) + login.user)
        await program.send(bytes([len(login.password)]) + login.password)
        assert await program.receive_exactly(2) == b"\x05\x02"
        return await program.receive_exactly(2) == b"\x01\x00"


async def test_a_port_that_is_taken_fails_with_what_to_do(journal: Journal) -> None:
    async with socks(journal) as here:
        taken = here.spec()
        other = Socks5Ports(here.home.links.first_healthy)
        with pytest.raises(ActionError, match="is taken by another program; stop it"):
            await other(taken, here.deaths.append)

        assert other.status() is None


async def test_a_port_that_is_closed_lets_nobody_in_and_shuts_nobody_out(journal: Journal) -> None:
    with service() as far:
        async with socks(journal) as here, here.led(at(far)) as program:
            there = await far.accept()
            await here.port.close()

            with socket.socket() as late, pytest.raises(ConnectionRefusedError):
                late.connect((here.address.host, here.address.port))
            await program.send(b"still here")
            assert await there.receive_exactly(10) == b"still here"
            assert here.ports.open == 1
            assert here.ports.status() is None


async def test_whoever_has_not_said_where_to_go_can_be_turned_away_alone(journal: Journal) -> None:
    with service() as far:
        async with socks(journal) as here, here.led(at(far)) as led, here.program() as undecided:
            there = await far.accept()
            await undecided.send(OPEN)
            assert await undecided.receive_exactly(2) == b"\x05\x00"

            here.ports.turn_away_undecided()

            await undecided.wait_reset()
            await led.send(b"still here")
            assert await there.receive_exactly(10) == b"still here"


async def test_at_the_end_everybody_is_dropped(journal: Journal) -> None:
    with service() as far:
        async with socks(journal) as here, here.led(at(far)) as led, here.program() as undecided:
            there = await far.accept()
            await until(lambda: here.ports.open == 2)

            here.ports.turn_everyone_away()

            for peer in (led, undecided, there):
                await peer.wait_reset()


async def test_a_port_of_ipv6_is_like_any_other(journal: Journal) -> None:
    with service() as far:
        async with socks(journal) as here:
            await here.port.close()
            here.address = free_port_of("::1")
            await here.open()
            async with here.led(at(far)) as program:
                await far.accept()
                name = program.socket.getsockname()
                program.reset()
            line = await journal.wait_for("program_left")

            assert line["listen"] == str(here.address)
            assert line["program"] == str(HostPort(*name[:2]))


async def test_a_port_that_the_loop_gave_up_is_not_alive(journal: Journal) -> None:
    async with socks(journal) as here:
        assert here.port.is_alive

        break_listening(here.address)
        await until(lambda: not here.port.is_alive)


# User and password


async def test_who_may_use_it_changes_while_it_is_open(journal: Journal, tmp_path: Path) -> None:
    with service() as far:
        async with socks(journal) as here, here.led(at(far)) as before:
            there = await far.accept()
            await here.port.update(here.spec(user="mail", password=password_in(tmp_path)))

            assert await can_log_in(here, MAIL)
            await before.send(b"still here")
            assert await there.receive_exactly(10) == b"still here"
            status = here.ports.status()
            assert status is not None
            assert (status.user, status.listen) == ("mail", str(here.address))

            await here.port.update(here.spec())
            async with here.led(at(far)):
                await far.accept()


async def test_a_password_that_cannot_be_read_keeps_the_port_closed_or_as_it_was(
    journal: Journal, tmp_path: Path
) -> None:
    missing = str(tmp_path / "missing")
    async with socks(journal) as here:
        await here.port.update(here.spec(user="mail", password=password_in(tmp_path)))
        with pytest.raises(ActionError, match=r"socks5\.password: .*missing cannot be read"):
            await here.port.update(here.spec(user="other", password=missing))
        assert await can_log_in(here, MAIL)

        elsewhere = here.spec(free_listen(), user="mail", password=missing)
        with pytest.raises(ActionError, match="missing cannot be read"):
            await here.ports(elsewhere, here.deaths.append)


async def test_a_password_is_read_again_when_its_file_has_changed(journal: Journal, tmp_path: Path) -> None:
    file = FileRef(password_in(tmp_path))
    async with socks(journal) as here:
        assert list(here.ports.in_use) == []
        await here.port.update(here.spec(user="mail", password=file.path))
        assert list(here.ports.in_use) == [file]
        assert list(here.ports.references(file)) == [file]
        assert await here.ports.renew(file) is None

        password_in(tmp_path, "another\n")
        assert await here.ports.renew(file) == {"changed": ["socks5.password"], "file": file.path}
        assert await here.ports.renew(file) is None
        assert not await can_log_in(here, MAIL)
        assert await can_log_in(here, Login(b"mail", b"another"))

        password_in(tmp_path, "")
        with pytest.raises(ActionError, match="put a password there"):
            await here.ports.renew(file)
        assert await can_log_in(here, Login(b"mail", b"another"))


async def test_a_password_of_a_port_that_is_closed_is_nobodys(journal: Journal, tmp_path: Path) -> None:
    file = FileRef(password_in(tmp_path))
    async with socks(journal) as here:
        await here.port.update(here.spec(user="mail", password=file.path))
        await here.port.close()

        assert list(here.ports.in_use) == []
        assert await here.ports.renew(file) is None


# As a unix socket


async def at_path(here: Socks, path: Path) -> None:
    await here.port.close()
    await here.open(here.spec(UnixTarget(str(path))))


async def test_a_unix_socket_is_for_its_owner_and_leads_like_any_port(journal: Journal, path: Path) -> None:
    with service() as far:
        async with socks(journal) as here:
            await at_path(here, path)
            assert mode_of(path) == 0o600
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
                program = Peer(connection)
                await here.lead(program, at(far))
                there = await far.accept()
                await program.send(b"question")
                assert await there.receive_exactly(8) == b"question"
                there.end()
                program.end()
                assert await program.receive_all() == b""
            line = await journal.wait_for("program_left")

            assert (line["program"], line["listen"]) == (None, f"unix:{path}")
            await here.port.close()
            assert not is_there(path)


async def test_a_unix_socket_that_a_dead_process_left_is_replaced(journal: Journal, path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with socks(journal) as here:
        await at_path(here, path)

        assert here.port.is_alive


async def test_a_unix_socket_that_is_served_is_left_alone(journal: Journal, path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as served:
        served.bind(str(path))
        served.listen()
        async with socks(journal) as here:
            with pytest.raises(
                ActionError, match=r"another program serves .* set socks5\.listen in the state"
            ):
                await here.ports(here.spec(UnixTarget(str(path))), here.deaths.append)
    assert is_there(path)


async def test_a_unix_socket_that_somebody_removed_is_not_alive(journal: Journal, path: Path) -> None:
    async with socks(journal) as here:
        await at_path(here, path)
        remove(path)

        assert not here.port.is_alive


async def test_a_port_may_be_one_that_was_handed_over_and_is_given_back_if_it_cannot_be_used(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = free_listen()
    with socket.socket() as made:
        made.bind((address.host, address.port))
        made.listen()
        async with socks(journal) as here:
            with handed_over(made) as inherited:
                ports = Socks5Ports(here.home.links.first_healthy, Ports(inherited).bind)
                with monkeypatch.context() as broken:
                    broken.setattr(module, "serve", refuse_to_serve)
                    with pytest.raises(OSError, match="a test"):
                        await ports(here.spec(address), here.deaths.append)
                port = await ports(here.spec(address), here.deaths.append)

                assert port.is_alive
                await port.close()


async def refuse_to_serve(listening: socket.socket, owner: object) -> Server:
    raise OSError("a test")
