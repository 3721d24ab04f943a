"""Listening, accepting and dialing end with a relay or a link, or with an OSError and nothing left open."""

from __future__ import annotations

import socket
import ssl
import sys
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import pytest

from tests.support import pki
from tests.transport.world import (
    PATIENCE,
    Listening,
    Plain,
    RecordingOwner,
    World,
    both,
    client_tls,
    loop_turns,
    make_links,
    server_tls,
)
from transport.pump import sockets
from transport.pump.link import Link
from transport.pump.relay import Relay, RelayEnd
from transport.pump.sockets import Server, accept_link, dial_link, dial_tcp, dial_unix, serve, serve_unix
from transport.tls import client_context
from transport.wire.mux import Role

_OPEN: Final = Path("/dev/fd")  # where most systems list what this process has open

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quiet")]

OS_ERROR = (OSError,)  # which one, and whether it says anything, depends on the loop and the TLS engine


def option(shell: Relay | Link, level: int, name: int) -> int:
    """What a socket option of its connection is set to."""
    value: int = shell._transport.get_extra_info("socket").getsockopt(level, name)
    return value


def has_no_delay(shell: Relay | Link) -> bool:
    return bool(option(shell, socket.IPPROTO_TCP, socket.TCP_NODELAY))


# Listening


async def listen(owner: RecordingOwner) -> tuple[Server, tuple[str, int]]:
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    address: tuple[str, int] = bound.getsockname()
    return await serve(bound, owner), address


async def test_every_connection_to_a_port_becomes_a_relay() -> None:
    owner = RecordingOwner()
    server, address = await listen(owner)
    visitors = [await Plain.connect(address) for _ in range(5)]
    await owner.until("connected", 5)

    assert {relay.source for relay in owner.relays()} == {visitor.address for visitor in visitors}
    assert {relay.destination for relay in owner.relays()} == {address}
    await server.close()
    for relay in owner.relays():
        relay.abort()
    await owner.until_all_ended()
    for visitor in visitors:
        visitor.close()


async def test_every_connection_to_a_unix_socket_becomes_a_relay(tmp_path: Path) -> None:
    """Who is in the queue when it is closed is let in, as on a port."""
    sources = []

    def connected(relay: Relay) -> None:
        sources.append(relay.source)
        relay.peek()

    owner = RecordingOwner(on_connected=connected, on_peeked=lambda relay: relay.refuse(bytes(relay.early)))
    path = str(tmp_path / "s")
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(path)
    server = await serve_unix(bound, owner)
    callers = [Plain(socket.socket(socket.AF_UNIX)) for _ in range(2)]
    callers[0].socket.connect(path)
    await owner.until("connected")
    callers[1].socket.connect(path)
    await server.close()

    for caller in callers:
        await caller.send(b"is anybody there?")
        assert await caller.receive_all() == b"is anybody there?"
        caller.close()
    assert sources == [("?", 0)] * 2
    await owner.until_all_ended()


async def test_a_port_that_is_closed_accepts_no_more_and_ends_nobody() -> None:
    owner = RecordingOwner(on_connected=Relay.peek, on_peeked=lambda relay: relay.refuse(bytes(relay.early)))
    server, address = await listen(owner)
    visitor = await Plain.connect(address)
    await owner.until("connected")
    await server.close()
    await server.close()
    await loop_turns(3)
    with pytest.raises(ConnectionRefusedError):
        await Plain.connect(address)
    await visitor.send(b"still here")

    assert await visitor.receive_all() == b"still here"
    visitor.close()
    await owner.until_all_ended()


async def test_whoever_waits_in_the_queue_of_a_port_that_is_closed_is_let_in() -> None:
    """The system has answered them, so they take themselves for connected."""
    owner = RecordingOwner(on_connected=Relay.peek, on_peeked=lambda relay: relay.refuse(bytes(relay.early)))
    server, address = await listen(owner)
    visitors = [socket.create_connection(address) for _ in range(3)]  # blocks: the loop accepts none of them
    for visitor in visitors:
        visitor.sendall(b"I was here")

    await server.close()

    await owner.until("connected", 3)
    await owner.until_all_ended()
    for visitor in visitors:
        with visitor:
            assert visitor.recv(100, socket.MSG_WAITALL) == b"I was here"
    with pytest.raises(ConnectionRefusedError):
        await Plain.connect(address)


@pytest.mark.parametrize("turns", range(5))
async def test_whoever_is_being_let_in_while_a_port_is_closed_is_known_when_it_is_closed(turns: int) -> None:
    """A loop accepts in one turn and says so in a later one, and the standard one forgets it in between."""
    owner = RecordingOwner()
    server, address = await listen(owner)
    visitor = socket.create_connection(address)
    await loop_turns(turns)

    await server.close()

    (relay,) = owner.relays()
    relay.abort()
    await owner.until_all_ended()
    visitor.close()


@pytest.mark.skipif(not _OPEN.is_dir(), reason="this system does not list what is open")
async def test_a_crowd_takes_no_more_files_than_an_owner_lets_it() -> None:
    """The standard loop would accept a whole queue before it tells of the first."""
    most = 0

    def turn_away(relay: Relay) -> None:
        nonlocal most
        most = max(most, len(list(_OPEN.iterdir())))
        relay.abort()

    owner = RecordingOwner(on_connected=turn_away)
    server, address = await listen(owner)
    visitors = [socket.create_connection(address) for _ in range(200)]
    before = len(list(_OPEN.iterdir()))
    await owner.until("connected", len(visitors))

    assert most < before + 20
    for visitor in visitors:
        visitor.close()
    await server.close()
    await owner.until_all_ended()


async def test_no_more_than_a_queue_is_let_in_when_a_port_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects without a pause cannot keep a port open."""
    monkeypatch.setattr(sockets, "_BACKLOG", 2)
    owner = RecordingOwner(on_connected=lambda relay: relay.abort())
    server, address = await listen(owner)
    visitors = [socket.create_connection(address) for _ in range(3)]

    await server.close()

    await owner.until("connected", 2)
    await owner.until_all_ended()
    assert len(owner.relays()) == 2
    for visitor in visitors:
        visitor.close()


async def test_a_close_that_is_cancelled_keeps_nobody_and_lets_nobody_in_later() -> None:
    owner = RecordingOwner(on_connected=lambda relay: relay.abort())
    server, address = await listen(owner)
    visitors = [await Plain.connect(address) for _ in range(3)]
    with anyio.CancelScope() as scope:
        scope.cancel()
        await server.close()

    for visitor in visitors:
        await _until_gone(visitor)
    with pytest.raises(ConnectionRefusedError):
        await Plain.connect(address)
    await owner.until_all_ended()


@pytest.mark.parametrize("anyio_backend", [pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop")])
async def test_a_port_that_its_loop_has_given_up_is_closed_like_any_other() -> None:
    """uvloop detaches the socket when accept() fails in a way that it does not know."""
    server, address = await listen(RecordingOwner())
    server._listening.detach()

    await server.close()

    with pytest.raises(ConnectionRefusedError):
        await Plain.connect(address)


async def test_a_port_that_is_closed_can_be_bound_again_at_once() -> None:
    server, address = await listen(RecordingOwner())
    await server.close()
    await loop_turns(3)
    again = socket.socket()
    again.bind(address)
    again.close()


async def test_a_visitor_that_has_reset_before_it_was_accepted_is_met_and_ends() -> None:
    met: list[tuple[str, int]] = []

    def meet(relay: Relay) -> None:
        met.append(relay.source)
        relay.peek()

    owner = RecordingOwner(on_connected=meet)
    server, address = await listen(owner)
    for _ in range(10):
        (await Plain.connect(address)).reset()
    honest = await Plain.connect(address)
    await owner.bell.until(lambda: honest.address in met)
    honest.reset()
    await owner.until_all_ended()
    await server.close()


# Dialing


async def test_a_tcp_service_is_dialed_by_address_and_by_name(listening: Listening) -> None:
    for host in ("127.0.0.1", "localhost"):
        owner = RecordingOwner()
        relay = await dial_tcp(host, listening.address[1], owner)
        service = await listening.accept()

        assert owner.names(relay) == ["connected"]
        assert relay.source == listening.address
        assert has_no_delay(relay)
        relay.abort()
        assert await service.is_reset()
        await owner.until_all_ended()


async def test_a_tcp_service_is_dialed_from_the_address_that_is_asked_for(listening: Listening) -> None:
    owner = RecordingOwner()
    relay = await dial_tcp(*listening.address, owner, source="127.0.0.9")
    service = await listening.accept()

    assert service.socket.getpeername()[0] == relay.destination[0] == "127.0.0.9"
    relay.abort()
    await owner.until_all_ended()


async def test_a_unix_service_is_dialed_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "service.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        bound.listen()
        owner = RecordingOwner()
        relay = await dial_unix(str(path), owner)
        with bound.accept()[0] as accepted:
            service = Plain(accepted)
            assert (relay.source, relay.destination) == (("?", 0), ("?", 0))
            relay.refuse(b"a word")
            assert await service.receive_all() == b"a word"
        await owner.until_all_ended()


async def test_a_unix_service_is_let_go_without_options_that_only_tcp_has(tmp_path: Path) -> None:
    path = tmp_path / "service.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        bound.listen()
        owner = RecordingOwner()
        relay = await dial_unix(str(path), owner)
        relay.abort()
        await owner.until_all_ended()

    assert owner.ends[relay] is RelayEnd.ABORTED


async def test_nothing_that_answers_is_an_os_error(tmp_path: Path) -> None:
    nobody = Listening()
    host, port = nobody.address
    nobody.close()
    owner = RecordingOwner()
    with pytest.raises(ConnectionRefusedError):
        await dial_tcp(host, port, owner)
    with pytest.raises(OS_ERROR):
        await dial_tcp("no-such-host.invalid", port, owner)
    with pytest.raises(FileNotFoundError):
        await dial_unix(str(tmp_path / "none.sock"), owner)
    with pytest.raises(ConnectionRefusedError):
        await dial_link(host, port, client_tls(), handshake_timeout=PATIENCE)

    assert owner.told == []


async def test_a_cancelled_dial_leaves_nothing_open(listening: Listening) -> None:
    owner = RecordingOwner()
    for turns in range(6):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(dial_tcp, *listening.address, owner)
            await loop_turns(turns)
            tasks.cancel_scope.cancel()
    for relay in owner.relays():
        relay.abort()  # of a dial that was over before it was cancelled
    await owner.until_all_ended()


# Links


@pytest.mark.usefixtures("tls_engine")
class TestLinks:
    """TLS over loopback, with either engine."""

    async def test_small_words_do_not_wait_for_more_on_any_socket(self, site: World) -> None:
        await site.meet()

        assert has_no_delay(site.gateway.link)
        assert has_no_delay(site.client.link)
        assert has_no_delay(site.door.relays()[0])
        assert has_no_delay(site.back.relays()[0])

    async def test_visitors_and_services_that_vanish_in_silence_are_noticed_at_last(
        self, site: World
    ) -> None:
        """By the system, which is asked to watch when they have been there for a while."""
        await site.meet()
        for relay in (site.door.relays()[0], site.back.relays()[0]):
            relay.look()

            assert option(relay, socket.SOL_SOCKET, socket.SO_KEEPALIVE)

    async def test_the_two_ends_of_a_link_know_their_roles(self, listening: Listening) -> None:
        gateway, client = await make_links(listening)

        assert (gateway.mux._role, client.mux._role) == (Role.SERVER, Role.CLIENT)
        gateway.abort()
        client.abort()
        await loop_turns()

    @pytest.mark.parametrize("says", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 100, b""])
    async def test_a_peer_that_speaks_no_tls_is_an_os_error(self, listening: Listening, says: bytes) -> None:
        stranger = await Plain.connect(listening.address)
        await stranger.send(says)
        stranger.end()
        with pytest.raises(OS_ERROR):
            await accept_link(await listening.accept_socket(), server_tls(), handshake_timeout=PATIENCE)

        await _until_gone(stranger)

    async def test_a_peer_that_says_nothing_is_given_up_on(self, listening: Listening) -> None:
        stranger = await Plain.connect(listening.address)
        with pytest.raises(OS_ERROR):
            await accept_link(await listening.accept_socket(), server_tls(), handshake_timeout=0.05)

        await _until_gone(stranger)

    async def test_a_gateway_that_says_nothing_is_given_up_on(self, listening: Listening) -> None:
        with pytest.raises(OS_ERROR):
            await dial_link(*listening.address, client_tls(), handshake_timeout=0.05)

        await _until_gone(await listening.accept())

    async def test_a_peer_that_leaves_during_the_handshake_is_an_os_error(self, listening: Listening) -> None:
        async def leave() -> None:
            stranger = await listening.accept()
            await stranger.receive()
            stranger.reset()

        async def dial() -> None:
            with pytest.raises(OS_ERROR):
                await dial_link(*listening.address, client_tls(), handshake_timeout=PATIENCE)

        await both(leave, dial)

    async def test_a_gateway_of_another_authority_is_an_os_error(self, listening: Listening) -> None:
        mine = pki.client()
        stranger = pki.authority("Somebody else")
        context = client_context(cert=mine.certificate, key=mine.key, ca=stranger.certificate)

        async def accept() -> None:
            with pytest.raises(OS_ERROR):
                await accept_link(await listening.accept_socket(), server_tls(), handshake_timeout=PATIENCE)

        async def dial() -> None:
            with pytest.raises(ssl.SSLCertVerificationError):
                await dial_link(*listening.address, context, handshake_timeout=PATIENCE)

        await both(accept, dial)

    async def test_a_gateway_that_goes_by_another_name_is_an_os_error(self, listening: Listening) -> None:
        context = client_tls()

        async def accept() -> None:
            with pytest.raises(OS_ERROR):
                await accept_link(await listening.accept_socket(), server_tls(), handshake_timeout=PATIENCE)

        async def dial() -> None:
            with pytest.raises(ssl.SSLCertVerificationError):
                await dial_link("127.0.0.2", listening.address[1], context, handshake_timeout=PATIENCE)

        listening.close()
        listening.socket = socket.create_server(("0.0.0.0", 0))
        listening.socket.setblocking(False)
        await both(accept, dial)

    async def test_a_cancelled_handshake_leaves_nothing_open(self, listening: Listening) -> None:
        stranger = await Plain.connect(listening.address)
        connection = await listening.accept_socket()
        with anyio.move_on_after(0.02):
            await accept_link(connection, server_tls(), handshake_timeout=PATIENCE)
        await _until_gone(stranger)

        with anyio.move_on_after(0.02):
            await dial_link(*listening.address, client_tls(), handshake_timeout=PATIENCE)
        await _until_gone(await listening.accept())

    async def test_a_peer_that_resumes_its_tls_session_is_an_os_error(self, listening: Listening) -> None:
        """Its certificate may have been revoked, or have expired; what vouches for it is not shown again."""
        mine, ca = pki.client(), pki.authority().certificate
        context = client_context(cert=mine.certificate, key=mine.key, ca=ca)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        port = server_tls()

        def shake_hands(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None]:
            with (
                socket.create_connection(listening.address) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as tls,
            ):
                return tls.session, tls.session_reused

        async def accept() -> Link:
            return await accept_link(await listening.accept_socket(), port, handshake_timeout=PATIENCE)

        async def refuse() -> None:
            with pytest.raises(OSError, match="resumes a TLS session"):
                await accept()

        link, (session, _) = await both(accept, partial(anyio.to_thread.run_sync, shake_hands, None))
        link.abort()
        _, (_, is_resumed) = await both(refuse, partial(anyio.to_thread.run_sync, shake_hands, session))

        assert is_resumed, "or nothing was shown"
        await loop_turns()

    async def test_a_link_is_made_on_a_socket_that_leads_there_already(self, listening: Listening) -> None:
        """As behind a proxy: the certificate is still looked at for the name of the gateway."""
        connection = socket.create_connection(listening.address)
        connection.setblocking(False)

        async def accept() -> Link:
            return await accept_link(
                await listening.accept_socket(), server_tls(), handshake_timeout=PATIENCE
            )

        async def dial() -> Link:
            return await dial_link(
                "127.0.0.1", 1, client_tls(), handshake_timeout=PATIENCE, connection=connection
            )

        gateway, client = await both(accept, dial)

        assert gateway.peer_address == client._transport.get_extra_info("sockname")
        gateway.abort()
        client.abort()
        await loop_turns()

    async def test_a_socket_that_leads_to_somebody_else_is_closed(self, listening: Listening) -> None:
        connection = socket.create_connection(listening.address)
        connection.setblocking(False)

        async def accept() -> None:
            with pytest.raises(OS_ERROR):
                await accept_link(await listening.accept_socket(), server_tls(), handshake_timeout=PATIENCE)

        async def dial() -> None:
            with pytest.raises(ssl.SSLCertVerificationError):
                await dial_link(
                    "gw9.example", 1, client_tls(), handshake_timeout=PATIENCE, connection=connection
                )

        await both(accept, dial)
        assert connection.fileno() == -1

    @pytest.mark.parametrize("turns", range(6))
    async def test_a_cancelled_handshake_closes_the_socket_it_was_given(
        self, listening: Listening, turns: int
    ) -> None:
        connection = socket.create_connection(listening.address)
        connection.setblocking(False)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                partial(dial_link, handshake_timeout=PATIENCE, connection=connection),
                *("127.0.0.1", 1, client_tls()),
            )
            await loop_turns(turns)
            tasks.cancel_scope.cancel()

        await _until_gone(await listening.accept())


async def _until_gone(plain: Plain) -> None:
    """Wait until the far end has closed, in whatever way."""
    await plain.is_reset()
    plain.close()


def test_where_there_is_no_wheel_of_aiofastnet_the_loop_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sockets._fast_tls() is not None
    monkeypatch.setitem(sys.modules, "aiofastnet", None)
    assert sockets._fast_tls() is None


async def test_only_what_aiofastnet_says_twice_is_kept_from_the_loop() -> None:
    """Errors that nobody else is told of still reach whoever handled them before."""
    handled: list[dict[str, object]] = []

    class Loop:
        """As much of a loop as the filter asks for."""

        handler = None

        def get_exception_handler(self) -> object:
            return self.handler

        def set_exception_handler(self, handler: object) -> None:
            self.handler = handler

        def default_exception_handler(self, context: dict[str, object]) -> None:
            handled.append(context)

    loop: Any = Loop()
    sockets._HandshakeFilter.install(loop)
    installed = loop.handler
    sockets._HandshakeFilter.install(loop)
    assert loop.handler is installed
    installed(loop, {"message": "SSL handshake failed", "exception": ConnectionResetError})
    assert handled == []
    installed(loop, {"message": "x", "exception": ConnectionResetError()})
    installed(loop, {"message": "y"})
    assert [context["message"] for context in handled] == ["x", "y"]

    loop.handler = lambda loop, context: handled.append({"message": "mine"})
    sockets._HandshakeFilter.install(loop)
    loop.handler(loop, {"message": "z"})
    assert handled[-1] == {"message": "mine"}
