"""A client's links to all its gateways: each stands for itself, and the file says which is the first."""

from __future__ import annotations

import pytest

from schemas.names import HostPort, ListenAddress
from schemas.status import LinkPhase
from tests.support import pki
from tests.support.gateway_parts import gateway_parts, gateway_tls
from tests.support.home import HOMELAB, Dns, home, link_to
from tests.support.journal import Journal
from tests.support.peers import free_listen, until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]


async def test_each_gateway_has_a_link_and_the_client_is_connected_when_all_are(journal: Journal) -> None:
    async with gateway_parts() as one, home() as here:
        two = free_listen()
        await here.put(link_to(one.control))
        await here.put(link_to(two))
        await journal.wait_for("link_up")

        assert len(here.links.status()) == 2
        assert not here.links.is_connected


async def test_the_sessions_of_a_process_live_beside_each_other_at_the_gateway(journal: Journal) -> None:
    async with gateway_parts() as parts, home() as here:
        for number in (1, 2, 3):
            await here.put(link_to(parts.control, session=number))
        await journal.wait_for("link_up", count=3)

        sessions = list(parts.sessions.connected()[HOMELAB])
        assert [client.number for client in sessions] == [1, 2, 3]
        assert len({client.instance for client in sessions}) == 1
        assert {line["session"] for line in journal.find("link_up")} == {1, 2, 3}
        assert here.links.is_connected


@pytest.mark.usefixtures("patient")
async def test_another_process_with_the_same_certificate_takes_the_place_of_all_sessions(
    journal: Journal,
) -> None:
    async with gateway_parts() as parts, home() as here, home() as there:
        for number in (1, 2):
            await here.put(link_to(parts.control, session=number))
        await journal.wait_for("link_up", count=2)

        await there.put(link_to(parts.control, session=2))
        await journal.wait_for("session_replaced", session=1)
        await journal.wait_for("session_replaced", session=2)
        await journal.wait_for("link_down", count=2)

        assert [client.number for client in parts.sessions.connected()[HOMELAB]] == [2]
        assert there.link.phase is LinkPhase.CONNECTED
        assert all("stop one of the two" in link.message for link in here.links.status())


async def test_links_are_shown_by_gateway_and_in_the_order_of_their_numbers() -> None:
    async with home() as here:
        one, two = sorted([free_listen(), free_listen()], key=str)
        for number in (10, 2, 1):
            await here.put(link_to(two, session=number))
            await here.put(link_to(one, session=number))

        assert [(link.gateway, link.session) for link in here.links.status()] == [
            (str(address), number) for address in (one, two) for number in (1, 2, 10)
        ]


async def test_a_change_of_the_services_is_told_on_every_session(journal: Journal) -> None:
    async with gateway_parts() as parts, home() as here:
        await here.put(link_to(parts.control))
        await here.put(link_to(parts.control, session=2))
        await journal.wait_for("link_up", count=2)

        await here.offer(web="127.0.0.1:80")

        sessions = list(parts.sessions.connected()[HOMELAB])
        await until(lambda: [client.services for client in sessions] == [{"web"}, {"web"}])


@pytest.mark.usefixtures("impatient")
async def test_a_session_that_is_lost_comes_back_and_the_others_do_not_notice(journal: Journal) -> None:
    async with gateway_parts() as parts, home() as here:
        await here.put(link_to(parts.control))
        await here.put(link_to(parts.control, session=2))
        await journal.wait_for("link_up", count=2)
        one, two = parts.sessions.connected()[HOMELAB]

        two.session.link.abort()

        assert (await journal.wait_for("link_down"))["session"] == 2
        assert (await journal.wait_for("link_up", count=3))["session"] == 2
        first, second = parts.sessions.connected()[HOMELAB]
        assert first is one
        assert second is not two
        assert not journal.find("session_replaced")


async def test_closing_one_session_leaves_the_others_as_they_are(journal: Journal) -> None:
    async with gateway_parts() as parts, home() as here:
        await here.put(link_to(parts.control))
        await here.put(link_to(parts.control, session=2))
        await journal.wait_for("link_up", count=2)

        await here.drop(link_to(parts.control, session=2))
        await journal.wait_for("client_disconnected", session=2)

        assert [client.number for client in parts.sessions.connected()[HOMELAB]] == [1]
        await until(lambda: [link.session for link in here.links.status()] == [1])
        assert not journal.find("link_down", session=1)


# Which is the first


def named(host: str, address: ListenAddress) -> HostPort:
    return HostPort(host, address.port)


async def test_links_are_shown_in_the_order_of_the_file() -> None:
    one, two = sorted([free_listen(), free_listen()], key=str)
    order = [HostPort(two.host, two.port), HostPort(one.host, one.port)]
    async with home(order=order) as here:
        await here.put(link_to(one), link_to(two), link_to(two, session=2))

        assert [(link.gateway, link.session) for link in here.links.status()] == [
            (str(two), 1),
            (str(two), 2),
            (str(one), 1),
        ]


@pytest.mark.usefixtures("impatient")
async def test_what_goes_to_the_first_gateway_goes_to_the_next_one_while_that_is_away(
    journal: Journal,
) -> None:
    async with gateway_parts() as one, gateway_parts() as two:
        order = [HostPort(parts.control.host, parts.control.port) for parts in (two, one)]
        async with home(order=order) as here:
            assert here.links.first_healthy() == ()
            await here.put(link_to(one.control), link_to(two.control), link_to(two.control, session=2))
            await journal.wait_for("link_up", count=3)

            sessions = here.links.first_healthy()
            assert len(sessions) == 2
            assert {session.session.link.peer_address[0] for session in sessions} == {two.control.host}

            two.stop()
            await journal.wait_for("link_down", count=2)
            (session,) = here.links.first_healthy()
            assert session.session.link.peer_address[0] == one.control.host

            (client,) = one.sessions.connected()[HOMELAB]
            one.sessions.drain()
            await journal.wait_for("gateway_drains", gateway=str(one.control))
            assert client.session.is_open
            assert here.links.first_healthy() == ()


@pytest.mark.usefixtures("patient")
async def test_the_loss_of_one_gateway_is_not_felt_at_the_other(journal: Journal) -> None:
    async with gateway_parts() as one, gateway_parts() as two, home() as here:
        await here.put(link_to(one.control), link_to(two.control))
        await journal.wait_for("link_up", count=2)
        (there,) = one.sessions.connected()[HOMELAB]

        two.stop()
        await journal.wait_for("link_down", gateway=str(two.control))

        assert here.phases == {str(one.control): "Connected", str(two.control): "Waiting"}
        assert list(one.sessions.connected()[HOMELAB]) == [there]
        assert there.can_serve


# One gateway that is reached twice


async def test_two_names_of_one_gateway_have_one_session_and_a_spare(journal: Journal) -> None:
    async with gateway_parts(tls=gateway_tls(pki.gateway("a.example", "b.example"))) as parts:
        a, b = named("a.example", parts.control), named("b.example", parts.control)
        dns = Dns(a_example=[parts.control.host], b_example=[parts.control.host])
        async with home(dns, order=[b, a]) as here:
            await here.put(link_to(a), link_to(b))
            await journal.wait_for("link_spare", gateway=str(a))

            await until(lambda: len(parts.sessions.connected()[HOMELAB]) == 1)
            await until(lambda: len(here.links.status()) == 2)
            assert [(link.gateway, link.phase) for link in here.links.status()] == [
                (str(b), LinkPhase.CONNECTED),
                (str(a), LinkPhase.STANDBY),
            ]
            assert here.links.is_connected
            assert not journal.find("session_replaced")


@pytest.mark.usefixtures("impatient")
async def test_a_spare_takes_over_when_the_other_name_does_not_lead_there_any_more(
    journal: Journal,
) -> None:
    async with gateway_parts(tls=gateway_tls(pki.gateway("a.example", "b.example"))) as parts:
        a, b = named("a.example", parts.control), named("b.example", parts.control)
        dns = Dns(a_example=[parts.control.host], b_example=[parts.control.host])
        async with home(dns, order=[a, b]) as here:
            await here.put(link_to(a), link_to(a, session=2))
            await journal.wait_for("link_up", count=2)
            await here.put(link_to(b), link_to(b, session=2))
            await journal.wait_for("link_spare", gateway=str(b), session=2)
            await journal.wait_for("link_spare", gateway=str(b), session=1)
            await until(lambda: len(parts.sessions.connected()[HOMELAB]) == 2)
            # Only one of the sessions had to find out who is there.
            assert len(journal.find("link_up", gateway=str(b))) == 1

            for number in (1, 2):
                await here.drop(link_to(a, session=number))

            await journal.wait_for("link_up", gateway=str(b), session=2)
            await until(lambda: here.links.is_connected and len(here.links.status()) == 2)
            assert {link.phase for link in here.links.status()} == {LinkPhase.CONNECTED}
            assert not journal.find("session_replaced")


@pytest.mark.usefixtures("impatient")
async def test_a_gateway_that_starts_again_is_reached_at_one_of_its_two_names(journal: Journal) -> None:
    tls = gateway_tls(pki.gateway("a.example", "b.example"))
    control = free_listen()
    a, b = named("a.example", control), named("b.example", control)
    dns = Dns(a_example=[control.host], b_example=[control.host])
    async with home(dns, order=[a, b]) as here:
        async with gateway_parts(tls=tls, control=control) as parts:
            await here.put(link_to(a), link_to(b))
            await journal.wait_for("link_spare")
            parts.stop()
            await journal.wait_for("link_down")
        async with gateway_parts(tls=tls, control=control) as parts:
            await until(
                lambda: sorted(link.phase.value for link in here.links.status()) == ["Connected", "Standby"]
            )
            await until(lambda: len(parts.sessions.connected()[HOMELAB]) == 1)
            assert not journal.find("session_replaced")
