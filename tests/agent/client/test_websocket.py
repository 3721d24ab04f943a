"""A client's way into a WebSocket, and what it says of everything that is none."""

from __future__ import annotations

import socket
import ssl

import anyio
import pytest

from agent.client.websocket import open_websocket
from schemas.names import ListenAddress
from tests.support import pki
from tests.support.gateway_parts import gateway_parts
from tests.support.journal import PATIENCE
from tests.support.peers import Peer, Service, service, unconnected, until
from tests.support.web_clients import client_tls, dial_carried, url_of
from transport.session import SessionLostError
from transport.tls import outer_server_context

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]


def address_of(target: str) -> ListenAddress:
    host, _, port = target.rpartition(":")
    return ListenAddress(host, int(port))


async def connected(address: ListenAddress) -> socket.socket:
    with unconnected(address) as peer:
        await peer.connect(address)
        connection = peer.socket.dup()
    connection.setblocking(False)
    return connection


async def refusal(address: ListenAddress, *, secure: bool = False, patience: float = PATIENCE) -> str:
    """What the client says when it asks there."""
    connection = await connected(address)
    with pytest.raises(SessionLostError) as caught:
        await open_websocket(
            connection, url_of(address, "/base/tunnel", secure=secure), client_tls(), patience=patience
        )
    return str(caught.value)


async def answering(web: Service, answer: bytes) -> bytes:
    """Play the web server for one request, which is returned."""
    peer = await web.accept()
    asked = bytearray()
    while b"\r\n\r\n" not in asked:
        asked += await peer.receive()
    await peer.send(answer)
    peer.end()
    await peer.receive_until_gone()
    return bytes(asked)


@pytest.mark.parametrize("secure", [False, True])
async def test_a_gateway_opens_one(secure: bool) -> None:
    async with gateway_parts() as parts:
        link = await dial_carried(url_of(parts.control, secure=secure))

        assert link.alpn == "tidegate/1"
        assert link.peer_certificate
        link.abort()
        await until(lambda: link.is_closed)


async def test_a_gateway_says_that_the_path_is_wrong() -> None:
    async with gateway_parts() as parts:
        connection = await connected(parts.control)

        with pytest.raises(
            SessionLostError, match=r"the answer was 404 Not Found: .*check the path .*which ends in /tunnel"
        ):
            await open_websocket(
                connection, url_of(parts.control, "/nothing"), client_tls(), patience=PATIENCE
            )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", "does not reach the gateway"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>Welcome to our hotel", "log in first"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://login/\r\n\r\n", "302 Found to http://login/"),
        (b"220 mail.example.com ESMTP\r\n", "does not speak HTTP/1"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "a proxy in between has changed it"),
        (b"", "closed instead of an answer"),
        (b"HTTP/1.1 101 Switch", "closed instead of an answer"),
    ],
)
async def test_each_other_answer_is_told_with_the_url(answer: bytes, said: str) -> None:
    with service() as web:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answering, web, answer)
            reason = await refusal(address_of(web.target))

    assert reason.startswith(f"ws://{web.target}/base/tunnel: ")
    assert said in reason
    assert "\n" not in reason


async def test_silence_is_told() -> None:
    with service() as web:
        reason = await refusal(address_of(web.target), patience=0.05)

    assert reason.startswith(f"ws://{web.target}/base/tunnel did not answer in time: ")


async def test_a_certificate_that_nobody_trusts_is_told() -> None:
    """Of another authority than the client's and the system's: nothing is asked of whoever shows it."""
    theirs = pki.gateway(signed_by=pki.authority("Somebody else"))
    context = outer_server_context(cert=theirs.certificate, key=theirs.key)

    async def shake_hands(web: Service) -> None:
        peer = await web.accept()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(await peer.receive())
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        await peer.send(outgoing.read())
        await peer.receive_until_gone()

    with service() as web:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shake_hands, web)
            reason = await refusal(address_of(web.target), secure=True)

    assert reason.startswith(f"wss://{web.target}/base/tunnel: ")
    assert f"the certificate of the web server at {web.target} is signed by no authority that" in reason
    assert "the gateway" not in reason


async def test_plain_http_where_tls_was_expected_is_told() -> None:
    async def say(web: Service) -> None:
        peer: Peer = await web.accept()
        await peer.receive()
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.receive_until_gone()

    with service() as web:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say, web)
            reason = await refusal(address_of(web.target), secure=True)

    assert "does not speak TLS" in reason


@pytest.mark.parametrize("turns", [0, 1, 5, 20])
async def test_giving_up_closes_the_connection(turns: int) -> None:
    with service() as web:
        address = address_of(web.target)
        connection = await connected(address)
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                await open_websocket(connection, url_of(address), client_tls(), patience=PATIENCE)

            tasks.start_soon(ask)
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()

        if turns:  # else nobody had begun, and it is still ours
            await (await web.accept()).receive_until_gone()
        connection.close()
