"""Who is connected, and who may be."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from agent.certificates import Credentials
from reconcile.desired import AdmissionSpec, Timing
from schemas.messages import Drain, FailureCode, RefusalCode, Replaced, Services, StreamFailed
from schemas.names import ClientId, ServiceName
from tests.support import pki
from tests.support.gateway_parts import GatewayParts, HandDriven, admission, gateway_parts, hand_driven, route
from tests.support.journal import Journal
from tests.support.peers import until, visit
from transport.session import SessionRefusedError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

WEB = ServiceName("web")
HOMELAB, OFFICE = ClientId("homelab"), ClientId("office")


def serving(parts: GatewayParts, *clients: str) -> str | None:
    client = parts.sessions.serving([ClientId(client) for client in clients], WEB)
    return None if client is None else client.id


# Who may connect


async def test_a_client_is_known_by_what_it_said_and_where_it_comes_from(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control, services=["web", "smtp"]) as homelab:
        client = parts.sessions.connected()[HOMELAB]

        assert client.services == {"web", "smtp"}
        assert client.software == "test/1"
        address = "{}:{}".format(*homelab.session.link._transport.get_extra_info("sockname"))
        assert client.address == address
        (line,) = journal.find("client_connected")
        assert (line["client"], line["address"]) == ("homelab", address)
        assert line["services"] == ["smtp", "web"]


@pytest.mark.parametrize(
    ("own", "hello", "code", "says"),
    [
        (pki.client("laptop"), "laptop", RefusalCode.NOT_DECLARED, "add it under clients in its file"),
        (pki.client("office"), "homelab", RefusalCode.WRONG_IDENTITY, "set client.id to office"),
        (pki.client(domain="a.example"), "homelab", RefusalCode.WRONG_IDENTITY, "the gateway sets no domain"),
    ],
    ids=["not declared", "another id than its certificate", "a domain nobody asked for"],
)
async def test_a_client_that_may_not_connect_is_told_what_to_do_and_so_is_the_log(
    own: Credentials, hello: str, code: RefusalCode, says: str, journal: Journal
) -> None:
    async with gateway_parts(admitted=admission("homelab", "office")) as parts:
        with pytest.raises(SessionRefusedError, match=says) as caught:
            async with hand_driven(parts.control, hello, credentials=own):
                pass

        line = await journal.wait_for("client_refused")
        assert caught.value.code is code
        assert line["reason"] == str(caught.value)
        assert not parts.sessions.connected()


async def test_with_a_domain_a_client_is_known_by_the_part_before_it() -> None:
    async with gateway_parts(admitted=admission("homelab", domain="a.example")) as parts:
        own = pki.client("homelab", domain="a.example")
        async with hand_driven(parts.control, credentials=own):
            assert list(parts.sessions.connected()) == [HOMELAB]


async def test_with_a_domain_a_certificate_without_one_is_refused() -> None:
    async with gateway_parts(admitted=admission("homelab", domain="a.example")) as parts:
        with pytest.raises(SessionRefusedError, match="the gateway wants <id>@"):
            async with hand_driven(parts.control):
                pass


async def test_without_a_list_of_clients_every_certificate_of_the_authority_will_do() -> None:
    async with gateway_parts(admitted=admission()) as parts, hand_driven(parts.control, "laptop"):
        assert serving(parts, "laptop") == "laptop"


@pytest.mark.parametrize(
    "changed", [admission("office"), admission(domain="a.example")], ids=["its name", "the domain"]
)
async def test_a_client_that_may_no_longer_connect_loses_its_session_and_its_visitors_at_once(
    changed: AdmissionSpec, journal: Journal
) -> None:
    async with gateway_parts(admitted=admission("homelab", "office")) as parts:
        address = await parts.listen(route())
        async with hand_driven(parts.control) as homelab, visit(address) as visitor:
            await homelab.join(visitor)

            await parts.put(changed)

            assert serving(parts, "homelab") is None
            await homelab.ended()
            await visitor.wait_reset()
        line = await journal.wait_for("client_disconnected")
        assert line["reason"]


async def test_a_client_that_still_may_connect_keeps_its_session() -> None:
    async with gateway_parts(admitted=admission("homelab", "office")) as parts:
        address = await parts.listen(route())
        async with hand_driven(parts.control) as homelab, visit(address) as visitor:
            offer = await homelab.join(visitor)

            await parts.put(admission("homelab"))
            await parts.put(admission())

            offer.stream.send(b"still here")
            assert await visitor.receive() == b"still here"


# Who serves


async def test_the_first_of_the_clients_that_is_connected_and_offers_the_service_serves() -> None:
    async with gateway_parts() as parts:
        assert serving(parts, "homelab", "office") is None
        async with hand_driven(parts.control, "office"):
            assert serving(parts, "homelab", "office") == "office"
            async with hand_driven(parts.control, "homelab"):
                assert serving(parts, "homelab", "office") == "homelab"
                assert serving(parts, "office", "homelab") == "office"


async def test_a_client_that_changes_its_services_serves_what_it_offers_now() -> None:
    async with (
        gateway_parts() as parts,
        hand_driven(parts.control) as homelab,
        hand_driven(parts.control, "office"),
    ):
        changes = parts.changes

        homelab.session.tell(Services(services=("smtp",)))
        await until(lambda: parts.changes > changes)
        assert serving(parts, "homelab", "office") == "office"

        homelab.session.tell(Services(services=("smtp", "web")))
        await until(lambda: parts.changes > changes + 1)
        assert serving(parts, "homelab", "office") == "homelab"


async def test_a_client_that_drains_gets_no_more_visitors_and_keeps_those_it_has() -> None:
    async with gateway_parts() as parts:
        address = await parts.listen(route(clients=["homelab", "office"]))
        async with (
            hand_driven(parts.control) as homelab,
            hand_driven(parts.control, "office") as office,
            visit(address) as visitor,
        ):
            offer = await homelab.join(visitor)

            homelab.session.tell(Drain())
            await until(lambda: serving(parts, "homelab") is None)

            async with visit(address):
                await office.next_offer()
            offer.stream.send(b"still here")
            assert await visitor.receive() == b"still here"


async def test_a_client_whose_session_is_over_serves_nobody_from_that_moment() -> None:
    async with gateway_parts() as parts, hand_driven(parts.control):
        parts.sessions.connected()[HOMELAB].session.close("a test")

        assert serving(parts, "homelab") is None


# A newer session of the same client


async def test_a_newer_session_takes_the_place_of_the_old_one_which_is_told(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as old:
        address = await parts.listen(route())
        async with visit(address) as visitor:
            await old.join(visitor)

            async with hand_driven(parts.control) as new:
                assert await old.next_message() == Replaced()
                await old.ended()
                await visitor.wait_reset()
                async with visit(address):
                    await new.next_offer()

                line = await journal.wait_for("client_disconnected")
                assert line["reason"] == "replaced by a newer session of the same client"
                assert serving(parts, "homelab") == "homelab"
                assert parts.sessions.states()[HOMELAB] == ("ClientConnected", "ClientUnknown")


async def test_an_old_session_whose_peer_has_vanished_is_replaced_at_once_with_its_visitors(
    journal: Journal,
) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as old:
        address = await parts.listen(route())
        async with visit(address) as visitor:
            await old.join(visitor)
            vanish(old)
            link = parts.sessions.connected()[HOMELAB].session.link
            await visitor.send(bytes(200_000))
            # Nobody takes what is sent to it, and the network has room for no more.
            while not link.is_paused:
                link.mux.ping(0)
                link._write()
                await anyio.lowlevel.checkpoint()

            async with hand_driven(parts.control) as new:
                await visitor.wait_reset()
                await journal.wait_for("client_disconnected")
                async with visit(address):
                    await new.next_offer()
        old.session.link._transport.resume_reading()  # or its goodbye takes seconds


async def test_a_peer_that_is_silent_after_a_ping_has_lost_its_session(journal: Journal) -> None:
    timing = Timing(ping_interval=0.01, ping_timeout=0.05, half_close_timeout=600.0)
    async with gateway_parts(timing=timing) as parts, hand_driven(parts.control) as homelab:
        vanish(homelab)

        line = await journal.wait_for("client_disconnected")

        assert line["reason"] == "nothing was heard for 0.05 s after a ping"
        assert not parts.sessions.connected()


def vanish(client: HandDriven) -> None:
    """Neither read nor say goodbye, as a machine whose cable was pulled."""
    client.session.link._transport.pause_reading()


# What is known of clients


async def test_the_states_are_told_in_the_words_of_threshold(journal: Journal) -> None:
    async with gateway_parts(admitted=admission("homelab", "office")) as parts:
        assert parts.sessions.states() == {
            "homelab": ("ClientUnknown", "ClientUnknown"),
            "office": ("ClientUnknown", "ClientUnknown"),
        }
        async with hand_driven(parts.control):
            assert parts.sessions.states()[HOMELAB] == ("ClientConnected", "ClientUnknown")
        await journal.wait_for("client_disconnected")
        assert parts.sessions.states()[HOMELAB] == ("ClientDisconnected", "ClientConnected")
        async with hand_driven(parts.control):
            assert parts.sessions.states()[HOMELAB] == ("ClientConnected", "ClientDisconnected")
        assert parts.sessions.states()[OFFICE] == ("ClientUnknown", "ClientUnknown")


async def test_a_client_is_known_when_it_is_declared_connected_or_has_been(journal: Journal) -> None:
    async with gateway_parts(admitted=admission()) as parts:
        assert parts.sessions.known() == frozenset()
        async with hand_driven(parts.control):
            assert parts.sessions.known() == {"homelab"}
        await journal.wait_for("client_disconnected")
        assert parts.sessions.known() == {"homelab"}
        await parts.put(admission("office"))
        assert parts.sessions.known() == {"homelab", "office"}


async def test_a_client_was_last_seen_when_it_went_or_never_since_the_start(journal: Journal) -> None:
    async with gateway_parts() as parts:
        start = parts.sessions.last_seen(HOMELAB)
        async with hand_driven(parts.control):
            assert parts.sessions.last_seen(HOMELAB) == start
        await journal.wait_for("client_disconnected")

        assert parts.sessions.last_seen(HOMELAB) > start


async def test_every_coming_and_going_is_a_change(journal: Journal) -> None:
    async with gateway_parts() as parts:
        async with hand_driven(parts.control):
            assert parts.changes == 1
        await journal.wait_for("client_disconnected")
        assert parts.changes == 2


async def test_nothing_is_kept_of_a_session_that_has_ended(journal: Journal) -> None:
    async with gateway_parts() as parts:
        tasks = len(anyio.get_running_tasks())
        for number in range(10):
            async with hand_driven(parts.control):
                pass
            await journal.wait_for("client_disconnected", count=number + 1)

        await until(lambda: len(anyio.get_running_tasks()) == tasks)
        assert not parts.sessions.connected()
        assert parts.sessions.known() == {"homelab"}


# What a client may say of streams


async def test_a_failure_of_a_stream_that_is_not_being_opened_changes_nothing() -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        address = await parts.listen(route())
        async with visit(address) as visitor:
            offer = await homelab.join(visitor)
            for stream in (1, offer.stream.id, 4_711):
                homelab.session.tell(StreamFailed(stream=stream, code=FailureCode.OTHER, message="boo"))

            offer.stream.send(b"still here")
            assert await visitor.receive() == b"still here"


async def test_stopping_the_gateway_ends_every_session_with_a_line(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        parts.stop()
        await homelab.ended()

    assert [line["reason"] for line in journal.find("client_disconnected")] == ["the gateway is stopping"]
