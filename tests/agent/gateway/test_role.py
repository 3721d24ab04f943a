"""A whole gateway: it starts on a valid state only, keeps to its file, and leaves nothing behind."""

from __future__ import annotations

import socket
from pathlib import Path

import anyio
import pytest

from agent import keeping
from agent.client.role import Client
from agent.gateway.role import Gateway
from agent.keys import key_watch
from agent.keys.pki import issue_gateway
from schemas.errors import StateError
from schemas.status import ConditionType, SessionStatus
from tests.support.journal import Journal
from tests.support.peers import free_listen, service, unconnected, until, visit
from tests.support.roles import CLIENT, Files, running

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


async def test_a_visitor_reaches_the_service_and_the_status_tells_of_it(
    files: Files, journal: Journal
) -> None:
    """One walk through everything: file, port, session, service, and the report on it."""
    listen = free_listen()
    gateway = Gateway(files.gateway(listen))
    with service() as web:
        client = Client(files.client(web.target))
        async with running(gateway), running(client):
            await journal.wait_for("client_connected", client=CLIENT)
            async with visit(listen) as visitor:
                await visitor.send(b"hello")
                answering = await web.accept()
                assert await answering.receive_exactly(5) == b"hello"
                await answering.send(b"asd")
                answering.close()
                assert await visitor.receive_all() == b"asd"
            await journal.wait_for("visitor_left")
            status = gateway.status()
            (tunnel,) = status.tunnels
            assert tunnel.condition(ConditionType.READY).status
            assert tunnel.serving_client == CLIENT
            assert (tunnel.traffic.total, tunnel.traffic.bytes_in, tunnel.traffic.bytes_out) == (1, 5, 3)
            (connected,) = status.clients
            assert isinstance(connected, SessionStatus)
            assert (connected.id, connected.connected, connected.services) == (CLIENT, True, ("web",))
            assert gateway.client_states() == {CLIENT: ("ClientConnected", "ClientUnknown")}
            assert status.ready
    assert journal.find("gateway_stopped", name="gw1")


async def test_it_keeps_to_its_file(files: Files, journal: Journal) -> None:
    """A port that is added opens, one that is removed closes, and nobody restarted anything."""
    first, second = free_listen(), free_listen()
    gateway = Gateway(files.gateway(first))
    async with running(gateway):
        files.gateway(second)
        gateway.reload()
        await journal.wait_for("state_in_force", generation=2)
        async with visit(second):
            pass
        with pytest.raises(OSError, match=r".+"):
            async with visit(first):
                pass


async def test_it_does_not_start_on_a_state_that_is_not_valid(files: Files) -> None:
    path = files.gateway(free_listen())
    path.write_text(path.read_text() + "tunels: []\n")
    with pytest.raises(StateError, match='unknown key "tunels"'):
        await Gateway(path).run()


async def test_a_declared_tunnel_that_the_file_leaves_no_room_for_gives_way(
    files: Files, journal: Journal
) -> None:
    """The operator's file wins, also at the start; the tunnel is told of, and the others are in force."""
    listen, other = free_listen(), free_listen()
    path = files.gateway(listen)
    (files.directory / "gateway.api.toml").write_text(
        "tidegate = 1\n"
        + "".join(
            f'[[tunnels]]\nname = "{name}"\nlisten = "{address}"\nclient = "{CLIENT}"\n'
            'service = "web"\ndeclared_by = "ops"\n'
            for name, address in (("clashing", listen), ("fitting", other))
        )
    )
    gateway = Gateway(path)
    async with running(gateway):
        assert [tunnel.name for tunnel in gateway.status().tunnels] == ["t0", "fitting"]
        (problem,) = gateway.status().source.problems
        assert str(problem.file).endswith("gateway.api.toml")
        assert "is left out" in problem.message
        assert journal.find("tunnels_left_out")
        async with visit(other):
            pass
        files.gateway(free_listen())  # there is room now
        gateway.reload()
        await journal.wait_for("state_mended")
        assert {"clashing", "fitting"} < {tunnel.name for tunnel in gateway.status().tunnels}


async def test_a_client_that_is_no_longer_listed_cannot_hold_the_file_with_its_tunnels(
    files: Files, journal: Journal
) -> None:
    """Revoking a client works whatever it declared."""
    path = files.gateway(free_listen())
    (files.directory / "gateway.api.toml").write_text(
        f'tidegate = 1\n[[tunnels]]\nname = "mine"\nlisten = "{free_listen()}"\nclient = "evil"\n'
        'service = "web"\ndeclared_by = "evil"\n'
    )
    gateway = Gateway(path)
    async with running(gateway):
        assert "mine" in {tunnel.name for tunnel in gateway.status().tunnels}
        path.write_text(path.read_text().replace("tunnels:", f"clients:\n  - id: {CLIENT}\ntunnels:"))
        gateway.reload()
        await journal.wait_for("state_in_force", generation=2)
        assert "mine" not in {tunnel.name for tunnel in gateway.status().tunnels}
        assert gateway.status().ready


async def test_a_pair_that_will_not_do_is_told_and_changes_nothing(
    files: Files, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays ready, for it works; the status says what is wrong until it is mended."""
    monkeypatch.setattr(key_watch, "SETTLING", 0.0)
    key = files.directory / "pki/gateway.key"
    good = key.read_bytes()
    gateway = Gateway(files.gateway(free_listen()))
    async with running(gateway):
        key.write_bytes(good[:100])
        gateway.reload()

        told = await journal.wait_for("keys_refused")

        assert gateway.status().warnings == (told["reason"],)
        assert told["reason"] == (
            f"gateway.tls.key ({key}) is cut off: copy it anew; what was there before stays in use"
        )
        assert gateway.status().ready
        async with running(Client(files.client("127.0.0.1:1"))):
            await journal.wait_for("client_connected")
        key.write_bytes(good)
        gateway.reload()
        await journal.wait_for("keys_mended")
        assert gateway.status().warnings == ()


async def test_keys_are_looked_at_when_it_is_told_to_look_though_nothing_is_watched(
    files: Files, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SIGHUP tells it."""
    monkeypatch.setattr(keeping, "watch", _see_nothing)
    gateway = Gateway(files.gateway(free_listen()))
    async with running(gateway):
        issue_gateway(files.directory / "pki", hosts=[files.control.host], force=True)
        gateway.reload()
        assert (await journal.wait_for("keys_renewed"))["changed"] == ["gateway.tls.cert", "gateway.tls.key"]


async def _see_nothing(source: object, bell: object) -> None:
    await anyio.sleep_forever()


async def test_stopping_it_changes_no_file(files: Files) -> None:
    """What is desired is in the files, and they are as they were."""
    path = files.gateway(free_listen())
    before = {file: file.read_bytes() for file in files.directory.iterdir() if file.is_file()}
    async with running(Gateway(path)):
        assert (files.directory / "gateway.sock").is_socket()
    assert {file: file.read_bytes() for file in files.directory.iterdir() if file.is_file()} == before


async def test_it_stops_while_visitors_are_at_every_stage(files: Files, journal: Journal) -> None:
    """One is peeked at, one is joined: both are closed, and no socket stays open."""
    listen = free_listen()
    path = files.gateway(listen)
    named = free_listen()
    path.write_text(
        path.read_text().replace(
            "tunnels:\n",
            "tunnels:\n"
            f'  - {{name: named, listen: "{named}", hostname: a.test, client: {CLIENT}, service: web}}\n',
        )
    )
    with service() as web, unconnected(listen) as joined, unconnected(named) as peeked:
        async with running(Client(files.client(web.target))):
            async with running(Gateway(path)):
                await journal.wait_for("link_up")
                await joined.connect(listen)
                await joined.send(b"x")
                answering = await web.accept()
                await answering.receive_exactly(1)
                await answering.send(b"y")
                assert await joined.receive() == b"y"
                await peeked.connect(named)
                await peeked.send(b"GET / HTTP/1.1\r\n")
                await until(lambda: not peeked.unread)
            for gone in (joined, peeked, answering):
                await gone.receive_until_gone()
    left = [line["tunnel"] for line in journal.find("visitor_left")]
    assert sorted(left, key=str) == [None, "t0"]
    assert journal.find("gateway_stopped")


async def test_a_setting_that_needs_a_restart_says_so(files: Files, journal: Journal) -> None:
    """What is decided once, at the start, is not silently called in force."""
    listen = free_listen()
    gateway = Gateway(files.gateway(listen))
    async with running(gateway):
        files.gateway(listen, more="  socket: other.sock\n")
        gateway.reload()
        line = await journal.wait_for("restart_needed")
        assert list(line["settings"]) == ["socket"]


async def test_a_second_gateway_on_the_same_file_is_refused(files: Files) -> None:
    """The admin socket belongs to the one that runs."""
    from agent.process.own_socket import OwnSocketError

    path = files.gateway(free_listen())
    async with running(Gateway(path)):
        with pytest.raises(OwnSocketError, match="another agent serves"):
            await Gateway(path).run()


async def test_a_port_that_is_taken_leaves_the_gateway_running_and_not_ready(
    files: Files, journal: Journal
) -> None:
    taken, free = free_listen(), free_listen()
    with socket.create_server((taken.host, taken.port)):
        gateway = Gateway(files.gateway(taken, free))
        async with running(gateway):
            await journal.wait_for("resource_failed")
            assert not gateway.status().ready
            async with visit(free):
                pass
