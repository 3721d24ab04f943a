"""The control port under clients, strangers and floods."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from anyio.abc import TaskStatus

from agent.gateway import control_port
from agent.keys.certificates import LEAF_LIFETIME, Credentials
from reconcile.actuator import ActionError
from reconcile.desired import ControlSpec, Timing, key_of
from reconcile.observed import Phase
from schemas.names import ListenAddress
from schemas.references import FileRef
from schemas.state import TlsGateway
from tests.support import pki
from tests.support.descriptors import break_listening, listening_inode, no_descriptors_left, open_sockets
from tests.support.gateway_parts import (
    QUIET,
    gateway_parts,
    gateway_tls,
    hand_driven,
    listener,
    route,
)
from tests.support.journal import Journal
from tests.support.peers import free_listen, program_sockets, unconnected, until, visit
from tests.support.tls_peers import client_hello, context_with, context_without_certificate, knock
from transport import session

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]


def control(address: ListenAddress, tls: TlsGateway | None = None, *, timing: Timing = QUIET) -> ControlSpec:
    return ControlSpec(address=address, tls=tls or gateway_tls(pki.gateway(address.host)), timing=timing)


# Strangers. Each does something wrong and waits for its end.

Stranger = Callable[[ListenAddress], Awaitable[object]]


def sending(data: bytes) -> Stranger:
    async def stranger(address: ListenAddress) -> None:
        async with visit(address) as peer:
            await peer.send(data)
            await peer.receive_until_gone()

    return stranger


def leaving_after(data: bytes) -> Stranger:
    async def stranger(address: ListenAddress) -> None:
        async with visit(address) as peer:
            await peer.send(data)

    return stranger


async def resetting(address: ListenAddress) -> None:
    async with visit(address) as peer:
        peer.reset()


def showing(own: Callable[[], Credentials], first: bytes = b"", *, alpn: str = "tidegate/1") -> Stranger:
    async def stranger(address: ListenAddress) -> None:
        await knock(address, context_with(own(), alpn=[alpn]), first)

    return stranger


async def showing_nothing(address: ListenAddress) -> None:
    await knock(address, context_without_certificate())


def client_of(authority: str) -> Callable[[], Credentials]:
    return lambda: pki.client(signed_by=pki.authority(authority))


def client_from(moved: timedelta) -> Callable[[], Credentials]:
    return lambda: pki.client(now=datetime.now(UTC) + moved)


HTTP = b"GET / HTTP/1.1\r\nHost: gw1\r\n\r\n"

STRANGERS: dict[str, tuple[Stranger, str, str]] = {
    "garbage": (sending(bytes(range(256)) * 4), "handshake_failed", "does not speak TLS"),
    "zeros": (sending(bytes(1024)), "handshake_failed", "does not speak TLS"),
    "plain HTTP": (sending(HTTP), "handshake_failed", "answered 404 Not Found to GET /"),
    "half a request": (leaving_after(HTTP[:20]), "handshake_failed", "before it had asked for anything"),
    "SSH": (sending(b"SSH-2.0-OpenSSH_9.2\r\n"), "handshake_failed", "not an HTTP/1 request"),
    "gone at once": (leaving_after(b""), "handshake_failed", "closed the connection"),
    "reset at once": (resetting, "handshake_failed", "closed the connection"),
    "gone in its hello": (leaving_after(client_hello()[:100]), "handshake_failed", "closed the connection"),
    "gone after its hello": (leaving_after(client_hello()), "handshake_failed", "closed the connection"),
    "no certificate": (showing_nothing, "handshake_failed", "showed no certificate"),
    "another CA": (showing(client_of("Somebody else")), "handshake_failed", "not signed by the authority"),
    "expired": (showing(client_from(-2 * LEAF_LIFETIME)), "handshake_failed", "has expired"),
    "not yet valid": (showing(client_from(timedelta(days=7))), "handshake_failed", "not valid yet"),
    "a gateway's": (showing(lambda: pki.gateway()), "handshake_failed", "made for another purpose"),
    "a browser": (showing(pki.client, HTTP, alpn="http/1.1"), "handshake_failed", "answered 404 Not Found"),
    "HTTP within TLS": (showing(pki.client, HTTP), "client_refused", "the peer broke the protocol"),
}


@pytest.mark.parametrize(("stranger", "event", "reason"), STRANGERS.values(), ids=STRANGERS.keys())
async def test_a_stranger_costs_one_clear_line_and_nobody_else_anything(
    stranger: Stranger, event: str, reason: str, journal: Journal
) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        public = await parts.listen(route())

        await stranger(parts.control)
        line = await journal.wait_for(event)

        assert reason in line["reason"]
        assert line["level"] == "warning"
        assert line["address"] == "?" or line["address"].startswith("127.")
        async with visit(public):
            await homelab.next_offer()
        async with hand_driven(parts.control, "office"):
            pass
        troubles = [line["event"] for line in journal.lines if line["level"] != "info"]
        assert troubles == [event]


@pytest.mark.parametrize("said", [b"", client_hello()[:100]], ids=["nothing", "half a hello"])
async def test_a_peer_that_falls_silent_in_its_handshake_is_turned_away_in_time(
    said: bytes, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_port, "_HANDSHAKE_TIMEOUT", 0.05)
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        await sending(said)(parts.control)

        line = await journal.wait_for("handshake_failed")

        assert "did not answer in time" in line["reason"]
        assert homelab.session.is_open


async def test_a_client_that_says_no_hello_is_turned_away_in_time(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "GREETING_TIMEOUT", 0.05)
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        await knock(parts.control, context_with(pki.client("office")))

        line = await journal.wait_for("client_refused")

        assert "no greeting came within" in line["reason"]
        assert homelab.session.is_open


async def test_beyond_the_limit_of_handshakes_who_comes_is_closed_and_one_line_says_so(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_port, "_MAX_HANDSHAKES", 1)
    monkeypatch.setattr(control_port, "_MAX_WAITING", 0)
    async with gateway_parts() as parts:
        async with visit(parts.control):
            for _ in range(3):
                async with visit(parts.control) as stranger:
                    assert await stranger.receive_all() == b""
        await journal.wait_for("handshake_failed")

        async with hand_driven(parts.control):
            pass

        line = await journal.wait_for("handshakes_refused")
        assert line["listen"] == str(parts.control)
        assert len(journal.find("handshakes_refused")) == 1


async def test_beyond_the_limit_of_handshakes_others_of_the_same_address_wait_for_their_turn(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be a thousand clients behind one router."""
    monkeypatch.setattr(control_port, "_MAX_HANDSHAKES", 1)
    async with gateway_parts() as parts, anyio.create_task_group() as tasks:
        clients = ["homelab", "office", "laptop"]

        async def come(client_id: str, *, task_status: TaskStatus[None]) -> None:
            task_status.started()
            async with hand_driven(parts.control, client_id):
                await until(lambda: len(parts.sessions.connected()) == len(clients))

        async with visit(parts.control):
            for client_id in clients:
                await tasks.start(come, client_id)
            await anyio.wait_all_tasks_blocked()
            assert not parts.sessions.connected()

        await journal.wait_for("client_connected", count=len(clients))
        assert not journal.find("handshakes_refused")


async def test_those_who_wait_hold_a_quarter_of_the_files_at_the_most(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One stranger with thousands of silent connections would otherwise leave visitors none."""
    monkeypatch.setattr(control_port, "_MAX_HANDSHAKES", 1)
    monkeypatch.setattr(control_port, "descriptor_limit", lambda: 8)
    async with gateway_parts() as parts, AsyncExitStack() as silent:
        for _ in range(3):
            await silent.enter_async_context(visit(parts.control))
        await anyio.wait_all_tasks_blocked()
        assert not journal.find("handshakes_refused")

        async with visit(parts.control) as one_more:
            assert await one_more.receive_all() == b""
        assert len(journal.find("handshakes_refused")) == 1


async def test_who_has_waited_for_too_long_has_gone_and_costs_no_handshake(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_port, "_MAX_HANDSHAKES", 1)
    async with gateway_parts() as parts:
        async with visit(parts.control) as first, visit(parts.control) as late:
            await anyio.wait_all_tasks_blocked()
            monkeypatch.setattr(control_port, "_HANDSHAKE_TIMEOUT", 0.0)
            first.close()

            assert await late.receive_until_gone() == b""
        assert len(journal.find("handshake_failed")) == 1


async def test_a_port_that_is_closed_lets_nobody_wait_on() -> None:
    async with gateway_parts() as parts:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(control_port, "_MAX_HANDSHAKES", 1)
            async with visit(parts.control), visit(parts.control) as late:
                await anyio.wait_all_tasks_blocked()
                await parts.drop(key_of(control(parts.control)))

                assert await late.receive_until_gone() == b""


async def test_silent_connections_of_one_address_keep_nobody_else_out(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest of the crowd gives way, and a client from elsewhere gets its session."""
    monkeypatch.setattr(control_port, "_MAX_HANDSHAKES", 2)
    async with gateway_parts() as parts:
        with unconnected(parts.control) as oldest, unconnected(parts.control) as other:
            for silent in (oldest, other):
                silent.socket.bind(("127.9.9.9", 0))
                await silent.connect(parts.control)
            async with hand_driven(parts.control) as homelab:
                assert homelab.session.is_open
                assert await oldest.receive_until_gone() == b""
        line = await journal.wait_for("handshakes_refused")
        assert line["most_from"] == "127.9.9.9"


async def test_a_machine_without_descriptors_keeps_the_port_and_its_sessions(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        with unconnected(parts.control) as late:
            with no_descriptors_left():
                await late.connect(parts.control)
                await journal.wait_for("accept_failed")
            await late.send(bytes(100))
            await journal.wait_for("handshake_failed")

        assert homelab.session.is_open
        async with hand_driven(parts.control, "office"):
            assert parts.rings == 0


async def test_a_port_whose_socket_dies_is_shown_as_failed_and_rings(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        key = key_of(control(parts.control))
        inode = listening_inode(parts.control)

        break_listening(parts.control)
        await journal.wait_for("task_failed")

        assert parts.actuator.observe()[key].phase is Phase.FAILED
        assert "it stopped working (OSError: [Errno 22] Inv" in parts.actuator.observe()[key].message
        assert parts.rings == 1
        await parts.put(control(parts.control))
        assert listening_inode(parts.control) != inode
        assert homelab.session.is_open


async def test_a_closed_port_is_free_at_once_and_its_sessions_go_on(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        await parts.drop(key_of(control(parts.control)))
        await parts.put(listener(parts.control, route()))

        async with visit(parts.control):
            await homelab.next_offer()


async def test_a_control_port_can_take_the_address_of_a_public_port_that_was_just_closed() -> None:
    async with gateway_parts() as parts:
        address = free_listen()
        await parts.put(listener(address, route()))

        await parts.drop(key_of(listener(address)))
        await parts.put(control(address))

        async with hand_driven(address):
            pass


async def test_the_socket_stays_when_the_certificate_changes_and_the_new_one_is_shown() -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        inode = listening_inode(parts.control)
        theirs = pki.authority("Somebody else")

        await parts.put(
            control(parts.control, gateway_tls(pki.gateway(parts.control.host), authority=theirs))
        )

        assert listening_inode(parts.control) == inode
        assert homelab.session.is_open
        async with hand_driven(parts.control, "office", credentials=pki.client("office", signed_by=theirs)):
            pass


async def test_other_times_hold_for_the_sessions_that_are_there(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        homelab.session.link._transport.pause_reading()  # as a machine whose cable was pulled
        impatient = Timing(ping_interval=0.01, ping_timeout=0.05, half_close_timeout=600.0)

        await parts.put(control(parts.control, timing=impatient))

        line = await journal.wait_for("client_disconnected")
        assert line["reason"] == "nothing was heard for 0.05 s after a ping"


async def test_a_certificate_that_cannot_be_read_leaves_the_old_one_in_force(tmp_path: Path) -> None:
    async with gateway_parts() as parts:
        missing = FileRef(str(tmp_path / "gateway.crt"))
        tls = gateway_tls()
        broken = TlsGateway(cert=missing, key=tls.key, client_ca=tls.client_ca)

        with pytest.raises(ActionError, match="there is no such file") as caught:
            await parts.put(control(parts.control, broken))

        assert caught.value.reason == "InvalidCertificate"
        assert parts.actuator.observe()[key_of(control(parts.control))].phase is Phase.FAILED
        async with hand_driven(parts.control):
            pass


async def test_a_port_with_a_certificate_that_cannot_be_read_is_not_opened(tmp_path: Path) -> None:
    async with gateway_parts() as parts:
        address = free_listen()
        tls = gateway_tls()
        broken = TlsGateway(cert=tls.cert, key=FileRef(str(tmp_path / "none")), client_ca=tls.client_ca)
        before = open_sockets()

        with pytest.raises(ActionError):
            await parts.put(control(address, broken))

        assert open_sockets() == before


async def test_only_the_keys_of_open_ports_are_looked_at() -> None:
    async with gateway_parts() as parts:
        keyring = parts.control_ports._keyring
        taken = control(parts.control, gateway_tls(pki.gateway("127.0.0.1")))
        before = list(keyring.in_use)

        with pytest.raises(ActionError, match="taken"):
            await parts.control_ports(taken, lambda error: None)
        assert list(keyring.in_use) == before

        await parts.drop(key_of(taken))
        assert not list(keyring.in_use)


async def test_stopping_in_the_middle_of_a_handshake_leaves_no_socket_behind() -> None:
    async with gateway_parts() as parts, visit(parts.control) as silent:
        await silent.send(client_hello())
        await silent.receive_exactly(1)

        parts.stop()

        await silent.receive_until_gone()
        await until(lambda: not program_sockets())
