"""Each gateway hears what this client declares once, and the client shows what comes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from agent.gateway.connected_client import ConnectedClient
from reconcile.actuator import ActionError
from reconcile.desired import DeclarationSpec
from schemas.messages import MAX_DECLARED, Declare, Declared, Drain, ServicesRefused, TunnelOutcome
from schemas.names import ClientId, ProxyProtocol, ServiceName, TunnelName, parse_listen
from schemas.state import OwnTunnel
from tests.support.gateway_parts import GatewayParts, gateway_parts
from tests.support.home import Home, home, link_to
from tests.support.journal import PATIENCE, Journal
from tests.support.peers import until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]


class Listener:
    """A gateway that writes down what is declared, and answers only what the test says."""

    def __init__(self, parts: GatewayParts) -> None:
        self.heard: list[tuple[ConnectedClient, Declare]] = []
        self.here: list[ConnectedClient] = []
        self.greeting: Declared | None = None
        parts.sessions.declarations = self

    def welcomed(self, client: ConnectedClient) -> None:
        self.here.append(client)
        if self.greeting is not None:
            client.session.tell(self.greeting)

    def declare(self, client: ConnectedClient, message: Declare) -> None:
        self.heard.append((client, message))

    def gone(self, client_id: ClientId) -> None:
        self.here.clear()

    async def next(self) -> tuple[ConnectedClient, Declare]:
        with anyio.fail_after(PATIENCE):
            await until(lambda: bool(self.heard))
        return self.heard.pop(0)


@asynccontextmanager
async def listener() -> AsyncIterator[tuple[GatewayParts, Listener]]:
    async with gateway_parts() as parts:
        yield parts, Listener(parts)


def own(name: str = "blog", *listen: str, hostname: tuple[str, ...] = ()) -> OwnTunnel:
    return OwnTunnel(
        name=TunnelName(name),
        listen=tuple(address for text in listen or ("127.0.0.1:443",) for address in parse_listen(text)),
        hostname=hostname,
        service=ServiceName("web"),
        proxy_protocol=ProxyProtocol.V2,
    )


async def declare(here: Home, *tunnels: OwnTunnel) -> None:
    await here.links.declaring.update(DeclarationSpec(tunnels=tunnels))


async def test_a_gateway_hears_the_whole_list_when_it_is_reached_and_whenever_that_has_changed() -> None:
    async with listener() as (parts, gateway), home() as here:
        await declare(here, own("blog", ":443", hostname=("b.example",)))
        await here.put(link_to(parts.control))

        _, first = await gateway.next()
        (tunnel,) = first.tunnels
        assert (tunnel.name, tunnel.listen) == ("blog", ("0.0.0.0:443", "[::]:443"))
        assert (tunnel.hostname, tunnel.service, tunnel.proxy_protocol) == (("b.example",), "web", "v2")

        await declare(here, own("shop"))
        _, second = await gateway.next()
        assert [one.name for one in second.tunnels] == ["shop"]
        assert second.number > first.number

        await declare(here, own("shop"))
        await here.links.declaring.close()
        _, third = await gateway.next()
        assert third.tunnels == ()


async def test_a_client_that_declares_nothing_says_nothing() -> None:
    async with listener() as (parts, gateway), home() as here:
        await here.put(link_to(parts.control))
        with anyio.fail_after(PATIENCE):
            await until(lambda: bool(gateway.here))
        await here.links.declaring.close()

        await declare(here, own())
        _, message = await gateway.next()
        assert [one.name for one in message.tunnels] == ["blog"]


async def test_of_several_sessions_one_declares_and_another_when_that_has_ended(journal: Journal) -> None:
    async with listener() as (parts, gateway), home() as here:
        await declare(here, own())
        for number in (1, 2, 3):
            await here.put(link_to(parts.control, session=number))
        await journal.wait_for("link_up", count=3)
        carrier, first = await gateway.next()
        assert gateway.heard == []

        carrier.session.close("cut off")
        other, again = await gateway.next()

        assert other is not carrier
        assert (again.number, again.tunnels) == (first.number, first.tunnels)


async def test_every_gateway_hears_it_for_itself() -> None:
    async with listener() as (one, first), listener() as (two, second), home() as here:
        await declare(here, own())
        await here.put(link_to(one.control))
        await here.put(link_to(two.control))
        answering, message = await first.next()
        await second.next()
        answering.session.tell(Declared(number=message.number, tunnels=(TunnelOutcome(name="blog"),)))

        def standing() -> dict[str, bool]:
            return {told.gateway: told.in_force for told in here.links.declaring.status()}

        with anyio.fail_after(PATIENCE):
            await until(lambda: standing() == {str(one.control): True, str(two.control): False})


async def test_what_came_of_a_tunnel_is_logged_once_and_shown(journal: Journal) -> None:
    async with listener() as (parts, gateway), home() as here:
        await declare(here, own("blog"), own("shop", "127.0.0.1:444"))
        await here.put(link_to(parts.control))
        client, message = await gateway.next()
        (waiting, _) = here.links.declaring.status()
        assert (waiting.in_force, "has not said" in waiting.message) == (False, True)

        outcomes = TunnelOutcome(name="blog"), TunnelOutcome(name="shop", problem="it is taken")
        for _ in range(2):
            client.session.tell(Declared(number=message.number, tunnels=outcomes))

        assert (await journal.wait_for("tunnel_refused"))["reason"] == "it is taken"
        assert (await journal.wait_for("tunnel_in_force"))["tunnel"] == "blog"
        (warning,) = here.links.warnings
        assert warning == f"the tunnel shop is not in force at {parts.control}: it is taken"

        client.session.tell(
            Declared(number=message.number, tunnels=(TunnelOutcome(name="blog"), TunnelOutcome(name="shop")))
        )
        await journal.wait_for("tunnel_in_force", tunnel="shop")
        assert not here.links.warnings
        assert len(journal.find("tunnel_refused")) == len(journal.find("tunnel_in_force", tunnel="blog")) == 1


async def test_an_answer_to_an_earlier_declaration_means_nothing(journal: Journal) -> None:
    async with listener() as (parts, gateway), home() as here:
        await declare(here, own("blog"))
        await here.put(link_to(parts.control))
        client, first = await gateway.next()
        await declare(here, own("shop"))
        _, second = await gateway.next()

        client.session.tell(Declared(number=first.number, tunnels=(TunnelOutcome(name="blog"),)))
        client.session.tell(Declared(number=second.number, tunnels=(TunnelOutcome(name="shop"),)))

        await journal.wait_for("tunnel_in_force", tunnel="shop")
        assert not journal.find("tunnel_in_force", tunnel="blog")


async def test_tunnels_of_an_earlier_day_are_taken_back_by_a_client_that_declares_none() -> None:
    async with listener() as (parts, gateway), home() as here:
        gateway.greeting = Declared(number=0, tunnels=(TunnelOutcome(name="old"),))
        await here.put(link_to(parts.control))

        _, message = await gateway.next()
        assert message.tunnels == ()


async def test_a_client_that_has_tunnels_of_its_own_declares_them_and_nothing_else() -> None:
    async with listener() as (parts, gateway), home() as here:
        gateway.greeting = Declared(number=0, tunnels=(TunnelOutcome(name="old"),))
        await declare(here, own("blog"))
        await here.put(link_to(parts.control))
        await gateway.next()

        await declare(here, own("shop"))
        _, message = await gateway.next()
        assert [one.name for one in message.tunnels] == ["shop"]


async def test_a_session_on_which_the_gateway_drains_is_passed_over(journal: Journal) -> None:
    async with listener() as (parts, gateway), home() as here:
        for number in (1, 2):
            await here.put(link_to(parts.control, session=number))
        await journal.wait_for("link_up", count=2)
        await declare(here, own("blog"))
        carrier, _ = await gateway.next()
        carrier.session.tell(Drain())
        await journal.wait_for("gateway_drains")
        carrier.session.close("the gateway has drained")

        other, message = await gateway.next()
        assert other is not carrier
        assert [one.name for one in message.tunnels] == ["blog"]


async def test_services_that_a_gateway_ignores_are_logged_and_shown_until_it_takes_them(
    journal: Journal,
) -> None:
    async with listener() as (parts, gateway), home() as here:
        await here.put(link_to(parts.control))
        with anyio.fail_after(PATIENCE):
            await until(lambda: bool(gateway.here))
        (client,) = gateway.here
        client.session.tell(ServicesRefused(services=("mail", "ssh")))

        line = await journal.wait_for("services_refused")
        assert line["services"] == ("mail", "ssh")
        assert f"{parts.control} ignores the services mail, ssh" in here.links.warnings[0]

        client.session.tell(ServicesRefused(services=()))
        with anyio.fail_after(PATIENCE):
            await until(lambda: not here.links.warnings)


@pytest.mark.parametrize(
    ("tunnels", "words"),
    [
        ([own(f"t{number}") for number in range(MAX_DECLARED + 1)], "a gateway takes 500 from a client"),
        ([own("a", *(f"127.0.0.1:{port}" for port in range(1, 66)))], "too many addresses"),
        (
            [
                own(
                    f"t{number}",
                    hostname=tuple(f"{name}.{'x' * 60}.{'y' * 60}.example" for name in range(100)),
                )
                for number in range(20)
            ],
            "do not fit into one message",
        ),
    ],
    ids=["too many", "too many addresses", "too long"],
)
async def test_what_is_too_much_to_say_is_told_and_nothing_is_said(
    tunnels: list[OwnTunnel], words: str
) -> None:
    async with home() as here:
        with pytest.raises(ActionError, match=words) as caught:
            await declare(here, *tunnels)
        assert caught.value.reason == "TooMany"
        assert here.links.declaring.status() == ()
