"""A gateway that is given by a name has a session at each of its addresses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from agent.client import resolving
from reconcile.desired import ControlSpec, LinkSpec, WayOut
from schemas.names import HostPort, ListenAddress
from schemas.proxy_url import NoProxy, parse_proxy_url
from schemas.status import LinkPhase, Renewal
from tests.support import pki
from tests.support.gateway_parts import QUIET, GatewayParts, gateway_parts, gateway_tls
from tests.support.home import HOMELAB, Dns, home, link_to
from tests.support.journal import Journal
from tests.support.peers import free_listen, until
from tests.support.site import own_address

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open", "asks_often")]

GW = "gw.example"


@pytest.fixture
def asks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the name server."""
    monkeypatch.setattr(resolving, "_SHORTEST", 0.0)
    monkeypatch.setattr(resolving, "backoff", lambda attempt, unit: 0.0)


class Cluster:
    """Gateways of one name, each at an address of its own."""

    def __init__(self, *parts: GatewayParts) -> None:
        self.parts = parts
        self.hosts = [part.control.host for part in parts]
        self.gateway = HostPort(GW, parts[0].control.port)

    def spec(self, *, session: int = 1, way_out: WayOut | None = None) -> LinkSpec:
        return link_to(self.gateway, session=session, way_out=way_out)

    def numbers(self) -> list[list[int]]:
        """Those of the sessions at each."""
        return [
            [client.number for client in part.sessions.connected().get(HOMELAB, ())] for part in self.parts
        ]


async def answered(dns: Dns, count: int) -> None:
    """Wait for so many more answers, of which the last has been heeded."""
    asked = len(dns.asked)
    await until(lambda: len(dns.asked) > asked + count)


@asynccontextmanager
async def cluster(count: int) -> AsyncIterator[Cluster]:
    tls = gateway_tls(pki.gateway(GW))
    port = free_listen().port
    async with AsyncExitStack() as stack:
        addresses = [ListenAddress(own_address(), port) for _ in range(count)]
        parts = [
            await stack.enter_async_context(gateway_parts(tls=tls, control=address)) for address in addresses
        ]
        yield Cluster(*parts)


async def test_there_is_a_session_to_each_address_times_those_that_are_asked_for(journal: Journal) -> None:
    async with cluster(3) as gw:
        dns = Dns(gw_example=gw.hosts)
        async with home(dns) as here:
            await here.put(gw.spec(), gw.spec(session=2))
            await journal.wait_for("link_up", count=6)

            assert [len(numbers) for numbers in gw.numbers()] == [2, 2, 2]
            assert [(link.address, link.session) for link in here.links.status()] == [
                (host, number) for host in gw.hosts for number in (1, 2)
            ]
            assert here.links.is_connected
            assert {line["address"] for line in journal.find("link_up")} == set(gw.hosts)


@pytest.mark.usefixtures("patient")
async def test_the_loss_of_one_address_is_not_felt_at_the_others(journal: Journal) -> None:
    async with cluster(3) as gw, home(Dns(gw_example=gw.hosts)) as here:
        await here.put(gw.spec())
        await journal.wait_for("link_up", count=3)
        before = gw.numbers()

        gw.parts[1].stop()
        await journal.wait_for("link_down", address=gw.hosts[1])

        assert gw.numbers() == [before[0], [], before[2]]
        assert [link.phase for link in here.links.status()] == [
            LinkPhase.CONNECTED,
            LinkPhase.WAITING,
            LinkPhase.CONNECTED,
        ]
        assert here.links.is_connected


@pytest.mark.usefixtures("impatient")
async def test_an_address_that_is_gone_drains_and_a_new_one_is_dialed(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolving, "_INTERVAL", 0.0)
    monkeypatch.setattr(resolving, "_GRACE", 0.0)
    async with cluster(3) as gw:
        dns = Dns(gw_example=gw.hosts[:2])
        async with home(dns) as here:
            await here.put(gw.spec())
            await journal.wait_for("link_up", count=2)
            (leaving,) = gw.parts[0].sessions.connected()[HOMELAB]

            dns.set(GW, *gw.hosts[1:])

            await journal.wait_for("link_up", address=gw.hosts[2])
            await until(lambda: leaving.draining or leaving.session.link.is_lost)
            await until(lambda: gw.numbers()[0] == [])
            await until(lambda: [link.address for link in here.links.status()] == gw.hosts[1:])
            assert not journal.find("link_down")


@pytest.mark.usefixtures("impatient")
async def test_a_session_that_works_does_not_come_and_go_with_the_answers_for_a_large_name(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolving, "_INTERVAL", 0.0)
    async with cluster(3) as gw:
        dns = Dns(gw_example=gw.hosts[:1])
        async with home(dns) as here:
            await here.put(gw.spec())
            for shown in (0, 1, 2):
                dns.set(GW, gw.hosts[shown])
                await journal.wait_for("link_up", address=gw.hosts[shown])
            for _ in range(3):
                for shown in (0, 1, 2):
                    dns.set(GW, gw.hosts[shown])
                    await answered(dns, 3)

            assert here.phases == dict.fromkeys(gw.hosts, "Connected")
            assert [len(numbers) for numbers in gw.numbers()] == [1, 1, 1]
            assert len(journal.find("link_up")) == 3


@pytest.mark.usefixtures("impatient")
async def test_a_gateway_with_an_address_in_each_answer_is_asked_once_at_each(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolving, "_INTERVAL", 0.0)
    async with cluster(1) as gw:
        other = ListenAddress(own_address(), gw.gateway.port)
        control = ControlSpec(address=other, tls=gateway_tls(pki.gateway(GW)), timing=QUIET)
        await gw.parts[0].put(control)
        dns = Dns(gw_example=gw.hosts)
        async with home(dns) as here:
            await here.put(gw.spec())
            await journal.wait_for("link_up", address=gw.hosts[0])
            dns.set(GW, other.host)
            await journal.wait_for("link_spare", address=other.host)
            for _ in range(3):
                for shown in (gw.hosts[0], other.host):
                    dns.set(GW, shown)
                    await answered(dns, 3)

            await until(lambda: here.phases == {gw.hosts[0]: "Connected", other.host: "Standby"})
            assert len(journal.find("link_up")) == 2


@pytest.mark.usefixtures("impatient")
async def test_an_address_that_is_in_no_answer_is_gone_when_its_session_is_lost(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolving, "_INTERVAL", 0.0)
    async with cluster(2) as gw:
        dns = Dns(gw_example=gw.hosts)
        async with home(dns) as here:
            await here.put(gw.spec())
            await journal.wait_for("link_up", count=2)
            dns.set(GW, gw.hosts[1])
            await answered(dns, 3)
            assert here.phases == dict.fromkeys(gw.hosts, "Connected")

            (lost,) = gw.parts[0].sessions.connected()[HOMELAB]
            lost.session.close("a test")
            await until(lambda: here.phases == {gw.hosts[1]: "Connected"})


async def test_a_session_that_cannot_be_made_is_a_reason_to_look_the_name_up(journal: Journal) -> None:
    async with cluster(1) as gw:
        dns = Dns(gw_example=[own_address()])
        async with home(dns) as here:
            await here.put(gw.spec())
            await journal.wait_for("link_down")

            dns.set(GW, *gw.hosts)

            await journal.wait_for("link_up", address=gw.hosts[0])
            await until(lambda: [link.address for link in here.links.status()] == gw.hosts)


async def test_a_name_that_does_not_exist_yet_is_shown_until_it_does(journal: Journal) -> None:
    async with cluster(1) as gw:
        dns = Dns()
        async with home(dns) as here:
            await here.put(gw.spec())
            assert here.link.phase is LinkPhase.CONNECTING
            await journal.wait_for("name_not_resolved")

            assert (here.link.phase, here.link.address) == (LinkPhase.WAITING, "")
            assert "the name gw.example does not exist: correct it in client.gateways" in here.link.message
            assert not here.links.is_connected
            dns.set(GW, *gw.hosts)
            await journal.wait_for("link_up")


@pytest.mark.usefixtures("patient")
async def test_a_dead_address_beside_one_that_answers_is_told_once(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with cluster(1) as gw, home(Dns(gw_example=[gw.hosts[0], own_address()])) as here:
        await here.put(gw.spec())
        await journal.wait_for("link_up")
        await journal.wait_for("link_down", level="warning")
        await here.put(gw.spec())  # another attempt

        await journal.wait_for("link_down", level="debug")
        assert len(journal.find("link_down", level="warning")) == 1
        await until(lambda: here.links.is_connected)


async def test_closing_it_leaves_every_address_and_asks_for_the_name_no_more(journal: Journal) -> None:
    async with cluster(2) as gw:
        dns = Dns(gw_example=gw.hosts)
        async with home(dns) as here:
            await here.put(gw.spec(), gw.spec(session=2))
            await journal.wait_for("link_up", count=4)
            await here.drop(gw.spec(session=2))
            await until(lambda: [len(numbers) for numbers in gw.numbers()] == [1, 1])
            await here.drop(gw.spec())

            await until(lambda: gw.numbers() == [[], []])
            await until(lambda: here.links.status() == ())


@pytest.mark.usefixtures("patient")
async def test_another_way_out_is_that_of_the_next_session_and_the_one_before_serves_until_then(
    journal: Journal,
) -> None:
    async with cluster(2) as gw, home(Dns(gw_example=gw.hosts)) as here:
        await here.put(gw.spec())
        await journal.wait_for("link_up", count=2)
        nowhere = parse_proxy_url(f"http://{own_address()}:1")

        await here.put(gw.spec(way_out=WayOut(proxy=nowhere)))
        await journal.wait_for("link_not_renewed")

        assert any("nothing listens there" in link.message for link in here.links.status())
        assert not here.links.is_connected  # with what is wanted of it now
        assert gw.numbers()[0]
        await here.put(gw.spec(way_out=WayOut(proxy=NoProxy.NONE)))
        await until(lambda: [link.address for link in here.links.status()] == gw.hosts)
        await until(lambda: all(link.phase is LinkPhase.CONNECTED for link in here.links.status()))


@pytest.mark.usefixtures("patient")
async def test_while_nobody_knows_where_new_settings_lead_the_session_is_one_of_those_before(
    journal: Journal,
) -> None:
    async with cluster(1) as gw:
        dns = Dns(gw_example=gw.hosts)
        async with home(dns) as here:
            await here.put(gw.spec())
            await journal.wait_for("link_up")
            nowhere = parse_proxy_url(f"http://{own_address()}:1")
            await here.put(gw.spec(way_out=WayOut(proxy=nowhere)))
            await journal.wait_for("link_not_renewed")
            dns.set("gw.example")

            await here.put(gw.spec(way_out=WayOut(proxy=NoProxy.NONE)))

            assert here.link.renewal is not Renewal.DONE
            await journal.wait_for("name_not_resolved")
            assert (here.link.phase, here.link.renewal) == (LinkPhase.CONNECTED, Renewal.FAILED)
            assert here.link.message.startswith(
                "still on the settings of before; with the new ones: the name gw.example does not exist"
            )
            assert not here.links.is_connected


async def test_other_settings_reach_the_session_at_every_address(journal: Journal) -> None:
    async with cluster(2) as gw, home(Dns(gw_example=gw.hosts)) as here:
        await here.put(gw.spec())
        await journal.wait_for("link_up", count=2)
        await here.put(replace(gw.spec(), timing=replace(QUIET, ping_interval=300.0)))

        await journal.wait_for("link_up", count=4)
        await until(lambda: [len(numbers) for numbers in gw.numbers()] == [1, 1])
        assert not journal.find("link_down")
