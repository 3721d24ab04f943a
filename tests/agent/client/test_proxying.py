"""What a client says to a proxy, and what it makes of each answer."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest

from agent.client.proxying import named, pass_through
from agent.client.way_out import ProxyError
from schemas.proxy_url import ProxyUrl, parse_proxy_url
from tests.support.journal import PATIENCE
from tests.support.peers import Peer, service

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

HTTP = parse_proxy_url("http://mail:secret@proxy.example.com:3128")
SOCKS5 = parse_proxy_url("socks5://mail:secret@proxy.example.com:1080")


@asynccontextmanager
async def proxied(talk: Callable[[Peer], Coroutine[Any, Any, None]]) -> AsyncIterator[socket.socket]:
    """A connection to a proxy that talks like this."""
    with service() as there, socket.socket() as connection:
        host, _, port = there.target.rpartition(":")
        connection.connect((host, int(port)))
        connection.setblocking(False)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(talk, await there.accept())
            with anyio.fail_after(PATIENCE):
                yield connection


async def refused(proxy: ProxyUrl, talk: Callable[[Peer], Coroutine[Any, Any, None]]) -> str:
    async with proxied(talk) as connection:
        with pytest.raises(ProxyError) as caught:
            await pass_through(connection, proxy, "client.proxy", "gw1.example.com", 9056)
    assert "secret" not in str(caught.value)
    assert "mail" not in str(caught.value)
    return str(caught.value)


async def test_an_http_proxy_leads_to_the_gateway() -> None:
    async def talk(peer: Peer) -> None:
        request = await peer.receive_exactly(len(b"CONNECT gw1.example.com:9056 HTTP/1.1\r\n"))
        assert request == b"CONNECT gw1.example.com:9056 HTTP/1.1\r\n"
        for byte in b"HTTP/1.1 200 OK\r\n\r\n":
            await peer.send(bytes([byte]))

    async with proxied(talk) as connection:
        await pass_through(connection, HTTP, "client.proxy", "gw1.example.com", 9056)


async def test_a_socks5_proxy_leads_to_the_gateway_and_looks_its_name_up() -> None:
    async def talk(peer: Peer) -> None:
        assert await peer.receive_exactly(4) == b"\x05\x02\x00\x02"
        await peer.send(b"\x05\x02")
        assert await peer.receive_exactly(13) == b"\x01\x04mail\x06secret"
        await peer.send(b"\x01")
        await peer.send(b"\x00")
        name = b"gw1.example.com"
        assert await peer.receive_exactly(22) == b"\x05\x01\x00\x03\x0f" + name + b"\x23\x60"
        await peer.send(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")

    async with proxied(talk) as connection:
        await pass_through(connection, SOCKS5, "client.proxy", "gw1.example.com", 9056)


async def test_a_refusal_names_the_proxy_where_it_is_named_and_what_it_answered() -> None:
    async def talk(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 403 Filtered\r\n\r\n")

    assert (await refused(HTTP, talk)).startswith(
        "the proxy http://proxy.example.com:3128 (client.proxy): it answered 403 Filtered: its rules"
    )


async def test_a_socks5_proxy_that_refuses_the_password_is_told() -> None:
    async def talk(peer: Peer) -> None:
        await peer.send(b"\x05\x02\x01\x01")

    told = await refused(SOCKS5, talk)

    assert told.startswith("the proxy socks5://proxy.example.com:1080 (client.proxy): ")
    assert "refuses the user or the password" in told


@pytest.mark.parametrize("proxy", [HTTP, SOCKS5], ids=["http", "socks5"])
async def test_a_proxy_that_hangs_up_is_told(proxy: ProxyUrl) -> None:
    async def talk(peer: Peer) -> None:
        peer.end()

    assert "it closed the connection instead of an answer" in await refused(proxy, talk)


async def test_a_proxy_that_says_more_than_its_answer_is_not_trusted() -> None:
    """The gateway has nothing to say yet: what comes is not from it."""

    async def talk(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n220 mail.example.com")

    assert "it says more than its answer" in await refused(HTTP, talk)


async def test_a_gigabyte_of_headers_is_not_read() -> None:
    sent = 0

    async def talk(peer: Peer) -> None:
        nonlocal sent
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        with suppress(OSError):  # nobody reads on, and the connection is closed
            while sent < 1 << 30:
                await peer.send(b"X: " + b"y" * 65_531 + b"\r\n")
                sent += 65_536

    async with proxied(talk) as connection:
        with pytest.raises(ProxyError, match="more than 65536 bytes"):
            await pass_through(connection, HTTP, "client.proxy", "gw1.example.com", 9056)
        connection.close()
    assert sent < 1 << 30


async def test_neither_user_nor_password_is_in_its_name() -> None:
    assert named(HTTP, "https_proxy") == "the proxy http://proxy.example.com:3128 (https_proxy)"
