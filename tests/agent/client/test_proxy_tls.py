"""A client's TLS to its proxy, and what it says of a proxy that has none, or no good certificate."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.streams.tls import TLSStream

from agent.client import dialing
from agent.client.dialing import dial, reach
from agent.client.places import Place
from agent.client.way_out import ProxyError
from agent.keys.certificates import Credentials
from reconcile.desired import LinkSpec, WayOut
from schemas.names import HostPort, ListenAddress
from schemas.proxy_url import parse_proxy_url
from tests.support import pki
from tests.support.gateway_parts import gateway_parts
from tests.support.home import link_to
from tests.support.peers import free_listen, service, until
from transport.tls import outer_server_context

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

FAR = HostPort("gw1.example.com", 9056)


def through(proxy: ListenAddress, gateway: HostPort = FAR) -> LinkSpec:
    return link_to(gateway, way_out=WayOut(proxy=parse_proxy_url(f"https://mail:secret@{proxy}")))


class Proxy:
    """An HTTPS proxy that lets everybody through to one gateway. ``asked`` is what it heard first."""

    def __init__(self, listen: ListenAddress) -> None:
        self.listen = listen
        self.asked = b""
        self.has_left = False


@asynccontextmanager
async def proxy(
    *hosts: str, signed_by: Credentials | None = None, gateway: ListenAddress | None = None
) -> AsyncIterator[Proxy]:
    """:param hosts: whom its certificate is for; its own address if that is nobody."""
    made = Proxy(free_listen())
    own = pki.gateway(*(hosts or (made.listen.host,)), signed_by=signed_by)
    context = outer_server_context(cert=own.certificate, key=own.key)

    async def serve(near: anyio.abc.SocketStream) -> None:
        async with near:
            try:
                outside = await TLSStream.wrap(near, server_side=True, ssl_context=context)
            except (anyio.BrokenResourceError, anyio.EndOfStream, ssl.SSLError):
                return
            made.asked = await outside.receive()
            await outside.send(b"HTTP/1.1 200 OK\r\n\r\n")
            assert gateway is not None
            async with (
                await anyio.connect_tcp(gateway.host, gateway.port) as inside,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(_copy, inside, outside)
                await _copy(outside, inside)
                tasks.cancel_scope.cancel()
        made.has_left = True

    listener = await anyio.create_tcp_listener(local_host=made.listen.host, local_port=made.listen.port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield made
        tasks.cancel_scope.cancel()


async def _copy(source: anyio.abc.ByteStream, sink: anyio.abc.ByteStream) -> None:
    try:
        async for data in source:
            await sink.send(data)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass


async def failure(spec: LinkSpec) -> str:
    with pytest.raises(ProxyError) as caught:
        await reach(spec, Place(spec.gateway))
    assert "secret" not in str(caught.value)
    return str(caught.value)


async def test_a_link_is_made_within_the_tls_to_the_proxy_and_ends_with_it() -> None:
    async with gateway_parts() as parts:
        gateway = HostPort(parts.control.host, parts.control.port)
        async with proxy(gateway=parts.control) as between:
            spec = through(between.listen, gateway)
            link = await dial(spec, Place(gateway))

            assert between.asked.startswith(f"CONNECT {gateway} HTTP/1.1\r\n".encode())
            assert link.alpn == "tidegate/1"
            link.close()
            await until(lambda: link.is_closed and between.has_left)


async def test_a_proxy_whose_certificate_nobody_vouches_for_learns_nothing() -> None:
    async with proxy(signed_by=pki.authority("A stranger")) as between:
        told = await failure(through(between.listen))

        assert told == (
            f"the proxy https://{between.listen} (client.proxy): the certificate of the proxy at "
            f"{between.listen} is signed by no authority that this system or client.tls.ca trusts: "
            "check what answers there, or add the authority to one of the two"
        )
        assert between.asked == b""


async def test_a_proxy_with_the_certificate_of_another_name_is_told() -> None:
    async with proxy("another.example.com") as between:
        told = await failure(through(between.listen))

        assert f"the certificate of the proxy at {between.listen} is not for the name" in told
        assert between.asked == b""


async def test_a_proxy_without_tls_is_told_to_be_one() -> None:
    with service() as there:
        host, _, port = there.target.rpartition(":")
        address = ListenAddress(host, int(port))
        async with anyio.create_task_group() as tasks:

            async def answer() -> None:
                near = await there.accept()
                await near.receive()
                await near.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                near.end()
                await near.receive_until_gone()

            tasks.start_soon(answer)
            told = await failure(through(address))

        assert told.startswith(f"the proxy https://{address} (client.proxy): ")
        assert "does not speak TLS" in told


async def test_a_proxy_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialing, "_CONNECT_TIMEOUT", 0.05)
    address = free_listen()
    with service(address) as there:
        told = await failure(through(address))

        assert told.startswith(f"the proxy https://{address} (client.proxy): ")
        await (await there.accept()).receive_until_gone()
