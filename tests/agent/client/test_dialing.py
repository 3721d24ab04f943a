"""From a gateway's address to a link, whatever is in between, in a bounded time."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from agent.client import default_route, dialing
from agent.client.connecting import PortsTakenError, connect
from agent.client.dialing import dial, reach
from agent.client.places import Place
from agent.client.way_out import ProxyError
from reconcile.desired import LinkSpec, WayOut
from schemas.gateway_address import GatewayAddress, WebSocketUrl
from schemas.names import HostPort, ListenAddress
from schemas.ports import PortRange
from schemas.proxy_url import ProxyChoice, parse_proxy_url
from tests.support.gateway_parts import gateway_parts
from tests.support.home import link_to
from tests.support.journal import PATIENCE
from tests.support.peers import Peer, blackhole, free_listen, service, until
from transport.session import SessionLostError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

FAR = HostPort("gw1.example.com", 9056)


def through(proxy: ListenAddress, scheme: str = "http", gateway: HostPort = FAR) -> LinkSpec:
    return link_to(gateway, way_out=WayOut(proxy=parse_proxy_url(f"{scheme}://mail:secret@{proxy}")))


async def failure(spec: LinkSpec) -> str:
    with pytest.raises(ProxyError) as caught:
        await reach(spec, Place(spec.gateway))
    assert "secret" not in str(caught.value)
    return str(caught.value)


@asynccontextmanager
async def pipe(answer: bytes, gateway: ListenAddress) -> AsyncIterator[ListenAddress]:
    """A proxy that answers so, and then is the gateway."""
    address = free_listen()

    async def copy(source: Peer, sink: Peer) -> None:
        try:
            while data := await source.receive():
                await sink.send(data)
        except OSError:
            pass
        sink.reset()

    with service(address) as there, socket.socket() as far:
        async with anyio.create_task_group() as tasks:

            async def run() -> None:
                near = await there.accept()
                await near.receive()
                await near.send(answer)
                beyond = Peer(far)
                await beyond.connect(gateway)
                tasks.start_soon(copy, near, beyond)
                tasks.start_soon(copy, beyond, near)

            tasks.start_soon(run)
            yield address
            tasks.cancel_scope.cancel()


async def test_a_link_is_made_straight_to_an_address_of_the_gateways_name() -> None:
    async with gateway_parts() as parts:
        spec = link_to(HostPort("localhost", parts.control.port))
        with pytest.raises(SessionLostError, match="not for the name or address that was dialed"):
            await dial(spec, Place(spec.gateway, parts.control.host))


async def test_a_link_is_made_through_a_proxy() -> None:
    async with gateway_parts() as parts, pipe(b"HTTP/1.1 200 OK\r\n\r\n", parts.control) as proxy:
        spec = through(proxy, gateway=HostPort(parts.control.host, parts.control.port))
        link = await dial(spec, Place(spec.gateway))

        assert link.peer_address == (proxy.host, proxy.port)
        link.abort()


async def test_a_link_is_made_from_the_ports_that_are_allowed() -> None:
    async with gateway_parts() as parts:
        port = free_listen().port
        spec = link_to(parts.control, way_out=WayOut(local_ports=PortRange(port, port)))
        link = await dial(spec, Place(spec.gateway))
        with pytest.raises(PortsTakenError):
            await dial(spec, Place(spec.gateway))

        assert link._transport.get_extra_info("sockname")[1] == port
        link.abort()


async def test_a_proxy_that_is_not_there_is_told_from_a_gateway_that_is_not() -> None:
    address = free_listen()

    assert await failure(through(address)) == (
        f"the proxy http://{address} (client.proxy): nothing listens there: "
        "check that it runs, and its host and port"
    )
    with pytest.raises(ConnectionRefusedError):
        await reach(link_to(address), Place(HostPort(address.host, address.port)))


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_that_says_nothing_is_given_up(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialing, "_CONNECT_TIMEOUT", 0.05)
    address = free_listen()
    with service(address) as there:
        told = await failure(through(address, scheme))

        assert (
            f"the proxy {scheme}://{address} (client.proxy): it did not lead to the gateway in time" in told
        )
        assert not (await (await there.accept()).receive_until_gone()).endswith(b"\x16")


async def test_a_proxy_that_cannot_be_reached_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialing, "_CONNECT_TIMEOUT", 0.05)
    with blackhole() as hole:
        assert "in time" in await failure(through(hole.address))
        await until(lambda: not hole.has_caller())


async def test_a_proxy_that_breaks_the_connection_is_told() -> None:
    address = free_listen()
    with service(address) as there:
        async with anyio.create_task_group() as tasks:

            async def run() -> None:
                near = await there.accept()
                await near.receive()
                near.reset()

            tasks.start_soon(run)
            assert "it closed the connection instead of an answer" in await failure(through(address))


async def test_a_proxy_whose_name_is_not_known_is_told() -> None:
    choice: ProxyChoice = parse_proxy_url("http://no-such-proxy.invalid:3128")
    told = await failure(link_to(FAR, way_out=WayOut(proxy=choice)))

    assert "the proxy http://no-such-proxy.invalid:3128 (client.proxy): the name is not known" in told


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_called_gateway_is_the_router_of_the_default_route(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = free_listen()
    monkeypatch.setattr(default_route, "default_router", lambda: address.host)
    with service(address) as there:
        async with anyio.create_task_group() as tasks:

            async def run() -> None:
                near = await there.accept()
                await near.receive()
                near.end()

            tasks.start_soon(run)
            proxy = parse_proxy_url(f"{scheme}://gateway:{address.port}")
            told = await failure(link_to(FAR, way_out=WayOut(proxy=proxy)))

    assert told.startswith(f"the proxy {scheme}://gateway:{address.port} (client.proxy): it closed")


async def test_the_proxy_of_the_environment_is_used_and_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = free_listen()
    monkeypatch.setenv("https_proxy", f"http://mail:secret@{address}")

    assert f"the proxy http://{address} (https_proxy): nothing listens there" in await failure(link_to(FAR))


async def test_all_of_it_together_has_one_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that leads to somebody who says nothing: what the proxy has used up, TLS does not get again."""
    monkeypatch.setattr(dialing, "_CONNECT_TIMEOUT", 0.2)
    address, silent = free_listen(), free_listen()
    with service(silent):
        async with pipe(b"HTTP/1.1 200 OK\r\n\r\n", silent) as proxy:
            with anyio.fail_after(PATIENCE), pytest.raises(SessionLostError, match="did not answer in time"):
                await dial(through(proxy, gateway=HostPort(address.host, address.port)), Place(FAR))


@pytest.mark.parametrize("gateway", [HostPort("127.0.0.1", 0), WebSocketUrl("127.0.0.1", 0, "/tunnel", True)])
async def test_a_way_that_is_open_in_the_last_moment_is_late_and_no_defect(
    gateway: GatewayAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What led there took all the time that there was, and a handshake cannot be given none."""
    monkeypatch.setattr(dialing, "_CONNECT_TIMEOUT", 0.0)
    with service() as there:

        async def reach_late(spec: LinkSpec, place: Place) -> tuple[socket.socket, None]:
            host, _, port = there.target.rpartition(":")
            return await connect((host,), int(port), patience=PATIENCE), None

        monkeypatch.setattr(dialing, "reach", reach_late)
        with pytest.raises(SessionLostError):
            await dial(replace(link_to(FAR), gateway=gateway), Place(gateway))
        await (await there.accept()).receive_until_gone()
