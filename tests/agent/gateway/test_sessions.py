"""Who is connected, and who may be."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from agent.gateway import absentees
from agent.keys.certificates import Credentials
from reconcile.desired import AdmissionSpec, Timing
from schemas.messages import MAX_SESSION_NUMBER, PROTOCOL, Hello, RefusalCode, Replaced
from schemas.names import ClientId, ServiceName
from tests.support import pki
from tests.support.gateway_parts import GatewayParts, HandDriven, admission, gateway_parts, hand_driven, route
from tests.support.journal import PATIENCE, Journal
from tests.support.peers import until, visit
from tests.support.tls_peers import context_with
from transport.pump.sockets import dial_link
from transport.session import Session, SessionRefusedError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

WEB = ServiceName("web")
HOMELAB, OFFICE = ClientId("homelab"), ClientId("office")


def serving(parts: GatewayParts, *clients: str) -> str | None:
    client = parts.sessions.serving([ClientId(client) for client in clients], WEB)
    return None if client is None else client.id


# Who may connect


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


async def test_a_client_of_another_version_is_remembered_as_refused_and_one_that_says_nothing_is_not(
    journal: Journal,
) -> None:
    async with gateway_parts() as parts:
        where = parts.control.host, parts.control.port
        silent = await dial_link(*where, context_with(pki.client()), handshake_timeout=PATIENCE)
        silent.abort()
        line = await journal.wait_for("client_refused")
        assert (line["client"], "serial" in line, parts.sessions.refusals) == ("homelab", True, {})

        link = await dial_link(*where, context_with(pki.client()), handshake_timeout=PATIENCE)
        hello = Hello(protocol=PROTOCOL + 1, id="homelab", software="test/1", services=())
        with pytest.raises(SessionRefusedError, match="upgrade the gateway"):
            await Session.greet(link, hello, HandDriven())

        await journal.wait_for("client_refused", count=2)
        assert "upgrade the gateway" in parts.sessions.refusals[HOMELAB].reason


async def test_a_client_that_is_taken_on_learns_which_process_of_the_gateway_it_has_reached() -> None:
    async with (
        gateway_parts() as one,
        gateway_parts() as two,
        hand_driven(one.control) as here,
        hand_driven(one.control, "office") as there,
        hand_driven(two.control) as elsewhere,
    ):
        assert here.welcome.instance == there.welcome.instance != ""
        assert here.welcome.instance != elsewhere.welcome.instance


async def test_a_client_may_have_as_many_sessions_as_its_file_may_ask_for(journal: Journal) -> None:
    async with (
        gateway_parts() as parts,
        hand_driven(parts.control, instance="a", session=MAX_SESSION_NUMBER),
    ):
        with pytest.raises(SessionRefusedError, match=r"set client\.sessions to 16 or less") as caught:
            async with hand_driven(parts.control, instance="a", session=MAX_SESSION_NUMBER + 1):
                pass

        assert caught.value.code is RefusalCode.TOO_MANY_SESSIONS
        assert (await journal.wait_for("client_refused"))["reason"] == str(caught.value)
        assert [client.number for client in parts.sessions.connected()[HOMELAB]] == [MAX_SESSION_NUMBER]


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


async def test_a_client_that_may_no_longer_connect_loses_all_of_its_sessions() -> None:
    async with (
        gateway_parts(admitted=admission("homelab", "office")) as parts,
        hand_driven(parts.control, instance="a") as one,
        hand_driven(parts.control, instance="a", session=2) as two,
    ):
        await parts.put(admission("office"))

        await one.ended()
        await two.ended()
        await until(lambda: not parts.sessions.connected())


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


async def test_a_client_is_connected_until_the_last_of_its_sessions_has_ended(journal: Journal) -> None:
    async with gateway_parts() as parts:
        start = parts.sessions.last_seen(HOMELAB)
        async with hand_driven(parts.control, instance="a"):
            async with hand_driven(parts.control, instance="a", session=2):
                lines = journal.find("client_connected", client="homelab")
                assert [line["session"] for line in lines] == [1, 2]
            await journal.wait_for("client_disconnected", session=2)
            assert parts.sessions.states()[HOMELAB] == ("ClientConnected", "ClientUnknown")
            assert parts.sessions.last_seen(HOMELAB) == start
        await journal.wait_for("client_disconnected", session=1)
        assert parts.sessions.states()[HOMELAB] == ("ClientDisconnected", "ClientConnected")
        assert parts.sessions.last_seen(HOMELAB) > start


async def test_a_process_that_takes_the_place_of_another_ends_all_sessions_of_that(journal: Journal) -> None:
    async with (
        gateway_parts() as parts,
        hand_driven(parts.control, instance="a") as one,
        hand_driven(parts.control, instance="a", session=2) as two,
        hand_driven(parts.control, instance="b", session=2),
    ):
        for old in (one, two):
            assert await old.next_message() == Replaced()
            await old.ended()
        await journal.wait_for("client_disconnected", session=1)
        await journal.wait_for("client_disconnected", session=2)
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
            (client,) = parts.sessions.connected()[HOMELAB]
            link = client.session.link
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


async def test_of_clients_that_nobody_declared_only_the_last_to_go_are_remembered(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(absentees, "_MOST_REMEMBERED", 2)
    async with gateway_parts() as parts:
        for number, client in enumerate(["a", "b", "a", "c", "d"]):
            async with hand_driven(parts.control, client):
                pass
            await journal.wait_for("client_disconnected", count=number + 1)

        assert parts.sessions.known() == {"c", "d"}


async def test_a_client_that_is_declared_is_remembered_however_many_others_come_and_go(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(absentees, "_MOST_REMEMBERED", 0)
    async with gateway_parts(admitted=admission("homelab", "a", "b")) as parts:
        for number, client in enumerate(["homelab", "a", "b"]):
            async with hand_driven(parts.control, client):
                pass
            await journal.wait_for("client_disconnected", count=number + 1)
        assert parts.sessions.states()[HOMELAB] == ("ClientDisconnected", "ClientConnected")

        await parts.put(admission("homelab", "c"))
        async with hand_driven(parts.control, "c"):
            pass
        await journal.wait_for("client_disconnected", count=4)
        assert parts.sessions.known() == {"homelab", "c"}


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


async def test_stopping_the_gateway_ends_every_session_with_a_line(journal: Journal) -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        parts.stop()
        await homelab.ended()

    assert [line["reason"] for line in journal.find("client_disconnected")] == ["the gateway is stopping"]
