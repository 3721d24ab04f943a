"""A session to one place: kept whatever happens, and shown as it is."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from agent.client import address_link, dialing
from agent.client.dialing import dial
from agent.client.places import Place
from agent.keys.certificates import LEAF_LIFETIME, Credentials
from reconcile.desired import LinkSpec, WayOut
from reconcile.observed import Phase
from schemas.messages import Drain
from schemas.names import ServiceName
from schemas.proxy_url import ProxyKind, ProxyUrl
from schemas.references import FileRef
from schemas.state import TlsClient
from schemas.status import LinkPhase, Renewal
from tests.support import pki
from tests.support.gateway_parts import (
    QUIET,
    admission,
    gateway_parts,
    gateway_tls,
    hand_driven,
    route,
)
from tests.support.home import HOMELAB, NOW, client_tls, home, link_to
from tests.support.journal import Journal
from tests.support.peers import blackhole, free_listen, service, until, visit
from transport.pump.link import Link
from transport.session import SessionLostError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]


# Connected


async def test_a_link_is_shown_as_connecting_from_the_moment_it_is_declared() -> None:
    async with home() as here:
        with blackhole() as hole:
            await here.put(link_to(hole.address))

            assert here.link.phase is LinkPhase.CONNECTING
            assert not here.links.is_connected
            await here.actuator.close_all()


async def test_a_connected_link_has_told_what_it_offers(journal: Journal) -> None:
    async with gateway_parts() as parts, home() as here:
        await here.offer(web="127.0.0.1:80")
        await here.put(link_to(parts.control))
        await journal.wait_for("link_up")

        assert (here.link.phase, here.link.message) == (LinkPhase.CONNECTED, "")
        assert here.links.is_connected
        assert parts.sessions.connected()[HOMELAB].services == {"web"}
        (line,) = journal.find("link_up")
        assert (line["gateway"], line["name"]) == (str(parts.control), "gw-test")


async def test_a_change_of_the_services_is_told_at_once(journal: Journal) -> None:
    async with gateway_parts() as parts, home() as here:
        await here.put(link_to(parts.control))
        await journal.wait_for("link_up")

        await here.offer(web="127.0.0.1:80", smtp="127.0.0.1:25")

        await until(lambda: parts.sessions.connected()[HOMELAB].services == {"web", "smtp"})


async def test_a_change_of_the_services_during_the_greeting_is_not_lost(journal: Journal) -> None:
    async with gateway_parts() as parts, home() as here:
        await here.put(link_to(parts.control))
        await until(lambda: HOMELAB in parts.sessions.connected())
        assert not here.links.is_connected  # the welcome is still on its way

        await here.offer(web="127.0.0.1:80")

        await until(lambda: parts.sessions.connected()[HOMELAB].services == {"web"})


async def test_a_visitor_reaches_a_service(journal: Journal) -> None:
    with service() as web:
        async with gateway_parts() as parts, home() as here:
            address = await parts.listen(route())
            await here.offer(web=web.target)
            await here.put(link_to(parts.control))
            await journal.wait_for("link_up")
            async with visit(address) as visitor:
                await visitor.send(b"question")
                assert await (await web.accept()).receive_exactly(8) == b"question"


# Down


@pytest.mark.usefixtures("patient")
async def test_a_gateway_that_is_not_there_is_told_with_when_it_is_tried_again(journal: Journal) -> None:
    async with home() as here:
        await here.put(link_to(free_listen()))
        line = await journal.wait_for("link_down")

        assert (here.link.phase, here.link.attempts) == (LinkPhase.WAITING, 1)
        assert "nothing listens there: check that the gateway runs" in here.link.message
        assert (here.link.since, here.link.next_attempt_at) == (NOW, NOW + timedelta(seconds=600))
        assert (line["level"], line["reason"], line["retry_in"]) == ("warning", here.link.message, 600.0)


@pytest.mark.usefixtures("impatient")
async def test_a_link_comes_back_after_its_gateway_did(journal: Journal) -> None:
    async with home() as here:
        async with gateway_parts() as parts:
            await here.put(link_to(parts.control))
            await journal.wait_for("link_up")
            parts.stop()
            await journal.wait_for("link_down")
        async with gateway_parts(control=parts.control):
            await journal.wait_for("link_up", count=2)
            assert here.link.phase is LinkPhase.CONNECTED


@pytest.mark.usefixtures("patient")
async def test_a_refusal_is_shown_in_the_words_of_the_gateway(journal: Journal) -> None:
    async with gateway_parts(admitted=admission("office")) as parts, home() as here:
        await here.put(link_to(parts.control))
        await journal.wait_for("link_down")

        assert here.link.phase is LinkPhase.REFUSED
        assert here.link.message == (
            "refused: the gateway does not list the client 'homelab': add it under clients in its file"
        )


@pytest.mark.usefixtures("patient")
async def test_a_gateway_of_another_authority_is_not_trusted(journal: Journal) -> None:
    async with gateway_parts() as parts, home() as here:
        await here.put(link_to(parts.control, tls=client_tls(authority=pki.authority("Somebody else"))))
        await journal.wait_for("link_down")

        assert here.link.phase is LinkPhase.WAITING
        assert "not signed by the authority this side trusts" in here.link.message


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "own",
    [
        pki.client(signed_by=pki.authority("Somebody else")),
        pki.client(now=datetime.now(UTC) - 2 * LEAF_LIFETIME),
        pki.gateway(),
    ],
    ids=["another CA", "expired", "a gateway's"],
)
async def test_a_certificate_that_the_gateway_does_not_accept_is_told(
    own: Credentials, journal: Journal
) -> None:
    async with gateway_parts() as parts, home() as here:
        await here.put(link_to(parts.control, tls=client_tls(own)))
        await journal.wait_for("link_down")

        # With TLS 1.3 the client is done before the gateway has looked, and its alert may be lost on the way.
        assert here.link.phase is LinkPhase.WAITING
        assert re.search(r"this (side|client)'s certificate", here.link.message)


@pytest.mark.usefixtures("patient")
async def test_a_gateway_dialed_by_a_name_that_is_not_in_its_certificate_is_not_trusted(
    journal: Journal,
) -> None:
    async with gateway_parts(tls=gateway_tls(pki.gateway("gw1.example"))) as parts, home() as here:
        await here.put(link_to(parts.control))
        await journal.wait_for("link_down")

        assert "is not for the name or address that was dialed" in here.link.message


@pytest.mark.usefixtures("patient")
async def test_something_else_on_the_gateways_port_is_told(journal: Journal) -> None:
    async with gateway_parts() as parts, home() as here, hand_driven(parts.control):
        address = await parts.listen(route("site", "a.example"), peek_timeout=0.05)
        await here.put(link_to(address))
        await journal.wait_for("link_down")

        assert here.link.phase is LinkPhase.WAITING
        assert here.link.message


@pytest.mark.usefixtures("patient")
async def test_a_gateway_that_never_answers_is_given_up(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialing, "_CONNECT_TIMEOUT", 0.05)
    with blackhole() as hole:
        async with home() as here:
            await here.put(link_to(hole.address))
            await journal.wait_for("link_down")

            assert "did not answer in time" in here.link.message
            await until(lambda: not hole.has_caller())


@pytest.mark.usefixtures("patient")
async def test_a_key_that_cannot_be_read_is_told_and_read_anew_the_next_time(
    journal: Journal, tmp_path: Path
) -> None:
    own = pki.client()
    tls = TlsClient(cert=client_tls(own).cert, key=FileRef(str(tmp_path / "home.key")), ca=client_tls().ca)
    async with gateway_parts() as parts, home() as here:
        await here.put(link_to(parts.control, tls=tls))
        await journal.wait_for("link_down")
        assert "home.key cannot be read; there is no such file" in here.link.message

        (tmp_path / "home.key").write_bytes(own.key)
        await here.put(link_to(parts.control, tls=tls))

        await journal.wait_for("link_up")


@pytest.mark.usefixtures("patient")
async def test_a_defect_is_shown_and_the_link_is_kept(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(tls: TlsClient) -> None:
        raise KeyError("a test")

    monkeypatch.setattr(dialing, "link_context", broken)
    async with home() as here:
        await here.put(link_to(free_listen()))
        await journal.wait_for("link_down")

        assert here.link.message == "a defect in Tidegate: KeyError; please report it"
        assert isinstance(journal.find("link_failed")[0]["exc_info"], KeyError)
        assert {seen.phase for seen in here.actuator.observe().values()} == {Phase.OPEN}


async def test_while_it_is_tried_for_again_it_is_shown_why_there_is_no_session(
    asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs_the_second_time(spec: LinkSpec, place: Place) -> Link:
        if asked:
            await anyio.sleep_forever()
        raise SessionLostError("the cable is out")

    monkeypatch.setattr(address_link, "dial", hangs_the_second_time)
    async with home() as here:
        await here.put(link_to(free_listen()))
        await until(lambda: here.link.attempts == 2)

        assert (here.link.phase, here.link.message) == (LinkPhase.CONNECTING, "the cable is out")


async def test_the_delay_grows_with_every_failed_attempt(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def at_once(attempt: int, unit: float) -> float:
        asked.append(attempt)
        return 0.0 if attempt < 4 else 600.0

    monkeypatch.setattr(address_link, "backoff", at_once)
    async with home() as here:
        await here.put(link_to(free_listen()))
        await journal.wait_for("link_down", count=5)

        assert asked == [0, 1, 2, 3, 4]


async def test_a_session_that_lasted_makes_the_next_delay_the_shortest_again(
    journal: Journal, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address_link, "_GOOD_SESSION", 0.0)
    address = free_listen()
    async with home() as here:
        await here.put(link_to(address))
        await journal.wait_for("link_down", count=2)
        async with gateway_parts(control=address) as parts:
            await journal.wait_for("link_up")
            failures = len(asked)
            parts.stop()
            await until(lambda: len(asked) > failures)

    assert asked[: failures + 1] == [*range(failures), 0]


@pytest.mark.usefixtures("patient")
async def test_attempts_are_counted_since_the_link_was_last_connected(journal: Journal) -> None:
    address = free_listen()
    async with home() as here:
        await here.put(link_to(address))
        await journal.wait_for("link_down")
        await here.put(link_to(address))
        await journal.wait_for("link_down", count=2)
        assert here.link.attempts == 2
        async with gateway_parts(control=address) as parts:
            await here.put(link_to(address))
            await journal.wait_for("link_up")
            assert here.link.attempts == 0
            parts.stop()
            await journal.wait_for("link_down", count=3)
        assert here.link.attempts == 0


async def test_a_short_session_does_not_make_the_delay_shorter(journal: Journal, asked: list[int]) -> None:
    """Two processes with one certificate would otherwise replace each other without a pause."""
    async with gateway_parts() as parts, home() as here:
        await here.put(link_to(parts.control))
        for count in (1, 2, 3):
            await journal.wait_for("link_up", count=count)
            (client,) = parts.sessions.connected()[HOMELAB]
            client.session.close("a test")
            await journal.wait_for("link_down", count=count)

    assert asked[:3] == [0, 1, 2]


async def test_a_session_that_was_replaced_waits_for_half_of_the_delay_at_least(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of many that returns replaces all of the other process, so none may return at once."""
    units: list[float] = []

    def as_told(attempt: int, unit: float) -> float:
        units.append(unit)
        return 0.0 if len(units) == 1 else 600.0

    monkeypatch.setattr(random, "random", lambda: 0.0)
    monkeypatch.setattr(address_link, "backoff", as_told)
    async with gateway_parts() as parts, home() as here:
        await here.put(link_to(parts.control))
        await journal.wait_for("link_up")
        (client,) = parts.sessions.connected()[HOMELAB]
        client.session.close("a test")
        await journal.wait_for("link_up", count=2)
        async with hand_driven(parts.control):
            await journal.wait_for("link_down", count=2)

    assert units == [0.0, 0.5]


async def test_another_process_with_the_same_certificate_is_told(journal: Journal) -> None:
    async with gateway_parts() as parts, home() as here:
        await here.put(link_to(parts.control))
        await journal.wait_for("link_up")
        async with hand_driven(parts.control):
            line = await journal.wait_for("session_replaced")

            assert "stop one of the two" in line["reason"]
            assert here.actuator.observe()


# Changed and closed


@pytest.mark.usefixtures("patient")
async def test_a_link_that_waits_tries_at_once_when_its_settings_change(journal: Journal) -> None:
    async with gateway_parts() as parts, home() as here:
        wrong = client_tls(authority=pki.authority("Somebody else"))
        await here.put(link_to(parts.control, tls=wrong))
        await journal.wait_for("link_down")

        await here.put(link_to(parts.control))

        await journal.wait_for("link_up")


@pytest.mark.usefixtures("patient")
async def test_a_link_that_is_connecting_takes_new_settings_as_soon_as_that_has_failed(
    journal: Journal,
) -> None:
    async with gateway_parts() as parts, home() as here:
        wrong = client_tls(authority=pki.authority("Somebody else"))
        await here.put(link_to(parts.control, tls=wrong))
        await here.put(link_to(parts.control))

        await journal.wait_for("link_up")


async def test_changed_settings_are_those_of_a_new_session_beside_the_old_one(journal: Journal) -> None:
    with service() as web:
        async with gateway_parts() as parts, home() as here:
            address = await parts.listen(route())
            await here.offer(web=web.target)
            await here.put(link_to(parts.control))
            await journal.wait_for("link_up")
            (before,) = parts.sessions.connected()[HOMELAB]
            async with visit(address) as visitor:
                answering = await web.accept()
                await answering.send(b"x")
                assert await visitor.receive() == b"x"

                changed = replace(link_to(parts.control), timing=replace(QUIET, ping_interval=300.0))
                await here.put(changed)
                await journal.wait_for("link_up", count=2)
                await until(lambda: before.draining)

                assert [client.can_serve for client in parts.sessions.connected()[HOMELAB]] == [False, True]
                phases = [link.phase for link in here.links.status()]
                assert phases == [LinkPhase.CONNECTED, LinkPhase.DRAINING]
                await answering.send(b"still here")
                assert await visitor.receive() == b"still here"
                async with visit(address) as another:
                    await another.send(b"to the new one")
                    assert await (await web.accept()).receive_exactly(14) == b"to the new one"
                answering.end()
                visitor.end()
                assert await visitor.receive_all() == b""

            await until(lambda: [link.phase for link in here.links.status()] == [LinkPhase.CONNECTED])
            assert not journal.find("link_down")
            assert not journal.find("visitor_refused")


async def test_the_session_of_before_serves_while_there_is_none_with_the_new_settings(
    journal: Journal,
) -> None:
    async with gateway_parts() as parts, home() as here:
        good = link_to(parts.control)
        await here.put(good)
        await journal.wait_for("link_up")
        (before,) = parts.sessions.connected()[HOMELAB]

        await here.put(link_to(parts.control, tls=client_tls(authority=pki.authority("Somebody else"))))
        await journal.wait_for("link_not_renewed")

        assert (here.link.phase, here.link.renewal) == (LinkPhase.CONNECTED, Renewal.FAILED)
        assert here.link.message.startswith("still on the settings of before; with the new ones: the other")
        assert not here.links.is_connected
        assert before.can_serve
        await here.put(good)
        assert (here.link.message, here.link.renewal) == ("", Renewal.DONE)
        await until(lambda: here.links.is_connected)
        assert list(parts.sessions.connected()[HOMELAB]) == [before]


@pytest.mark.parametrize("was_connected", [False, True], ids=["without a session", "beside one"])
async def test_new_settings_end_an_attempt_that_hangs(journal: Journal, was_connected: bool) -> None:
    async with gateway_parts() as parts, home() as here:
        with blackhole() as hole:
            good = link_to(parts.control)
            if was_connected:
                await here.put(good)
                await journal.wait_for("link_up")
            proxy = ProxyUrl(kind=ProxyKind.SOCKS5, host=hole.address.host, port=hole.address.port)
            await here.put(replace(good, way_out=WayOut(proxy=proxy)))
            message = (
                f"still on the settings of before; connecting with the new ones through {proxy}"
                if was_connected
                else f"connecting through {proxy}"
            )
            await until(lambda: here.link.message == message and here.link.attempts == 1)
            assert here.link.renewal is (Renewal.PENDING if was_connected else Renewal.DONE)
            assert not here.links.is_connected

            await here.put(replace(good, timing=replace(QUIET, ping_interval=300.0)))

            await journal.wait_for("link_up", count=2 if was_connected else 1)
            await until(lambda: here.links.is_connected)
            assert not journal.find("link_down")
            assert not journal.find("link_not_renewed")


async def test_settings_that_fail_in_the_moment_in_which_there_are_others_are_not_complained_of(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway_parts() as parts, home() as here:
        good = link_to(parts.control)

        async def overtaken(spec: LinkSpec, place: Place) -> Link:
            if spec == good:
                return await dial(spec, place)
            with anyio.CancelScope(shield=True):
                await here.put(good)
            raise SessionLostError("a test")

        monkeypatch.setattr(address_link, "dial", overtaken)
        await here.put(replace(good, timing=replace(QUIET, ping_interval=300.0)))

        await journal.wait_for("link_up")
        assert not journal.find("link_down")


@pytest.mark.usefixtures("patient")
async def test_a_session_that_ends_while_its_successor_is_tried_for_is_not_shown_as_connected(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialing, may_fail = anyio.Event(), anyio.Event()

    async def slowly(spec: LinkSpec, place: Place) -> Link:
        if spec.timing == QUIET:
            return await dial(spec, place)
        dialing.set()
        await may_fail.wait()
        raise SessionLostError("a test")

    monkeypatch.setattr(address_link, "dial", slowly)
    async with gateway_parts() as parts, home() as here:
        good = link_to(parts.control)
        await here.put(good)
        await journal.wait_for("link_up")
        (client,) = parts.sessions.connected()[HOMELAB]
        await here.put(replace(good, timing=replace(QUIET, ping_interval=300.0)))
        await dialing.wait()

        client.session.close("it broke")

        await until(lambda: here.link.phase is LinkPhase.CONNECTING)
        may_fail.set()
        await journal.wait_for("link_down")
        assert (here.link.phase, here.link.message) == (LinkPhase.WAITING, "a test")
        assert not journal.find("link_not_renewed")
        await here.put(good)
        await journal.wait_for("link_up", count=2)


async def test_a_link_that_is_not_kept_any_more_lets_its_visitors_finish(journal: Journal) -> None:
    with service() as web:
        async with gateway_parts() as parts, home() as here:
            address = await parts.listen(route())
            await here.offer(web=web.target)
            await here.put(link_to(parts.control))
            await journal.wait_for("link_up")
            async with visit(address) as visitor:
                answering = await web.accept()
                await visitor.send(b"question")
                await answering.receive_exactly(8)

                await here.drop(link_to(parts.control))
                assert here.link.phase is LinkPhase.DRAINING
                await until(lambda: not parts.sessions.serving([HOMELAB], ServiceName("web")))
                await answering.send(b"answer")
                answering.end()
                visitor.end()

                assert await visitor.receive_all() == b"answer"
            await journal.wait_for("client_disconnected")
            assert journal.find("visitor_left")[0]["end"] == "done"
            await until(lambda: here.links.status() == ())


async def test_a_gateway_that_drains_is_shown_and_dialed_again_when_it_has_gone(
    journal: Journal, asked: list[int]
) -> None:
    async with gateway_parts() as parts, home() as here:
        await here.put(link_to(parts.control))
        await journal.wait_for("link_up")
        (client,) = parts.sessions.connected()[HOMELAB]

        for _ in range(3):  # once is enough, and more does not hurt
            client.session.tell(Drain())
        await journal.wait_for("gateway_drains")
        assert here.link.phase is LinkPhase.DRAINING
        assert "the gateway is stopping" in here.link.message
        assert not here.links.is_connected
        await here.put(replace(link_to(parts.control), timing=replace(QUIET, ping_interval=300.0)))
        client.session.close("gone")

        await journal.wait_for("link_up", count=2)
        assert len(journal.find("gateway_drains")) == 1
        assert asked[0] == 0
        assert journal.find("link_down")[0]["reason"] == "the gateway stopped, as it had announced"


@pytest.mark.usefixtures("patient")
async def test_a_changed_id_is_a_new_session_at_once(journal: Journal) -> None:
    async with gateway_parts() as parts, home() as here:
        await here.put(link_to(parts.control))
        await journal.wait_for("link_up")

        await here.put(link_to(parts.control, client_id="office", tls=client_tls(pki.client("office"))))

        await journal.wait_for("link_up", count=2)
        await until(lambda: list(parts.sessions.connected()) == ["office"])


@pytest.mark.usefixtures("patient")
async def test_an_id_that_changes_during_the_greeting_is_a_new_session_at_once(journal: Journal) -> None:
    async with gateway_parts() as parts, home() as here:
        await here.put(link_to(parts.control))
        await until(lambda: HOMELAB in parts.sessions.connected())

        await here.put(link_to(parts.control, client_id="office", tls=client_tls(pki.client("office"))))

        await until(lambda: list(parts.sessions.connected()) == ["office"])


async def test_a_closed_link_has_left_the_gateway_and_is_shown_no_more(journal: Journal) -> None:
    async with gateway_parts() as parts, home() as here:
        await here.put(link_to(parts.control))
        await journal.wait_for("link_up")

        await here.drop(link_to(parts.control))

        await until(lambda: here.links.status() == ())
        line = await journal.wait_for("client_disconnected")
        assert line["reason"] == "the peer closed the connection"


@pytest.mark.usefixtures("patient")
async def test_a_link_can_be_closed_while_it_waits_and_while_it_connects(journal: Journal) -> None:
    with blackhole() as hole:
        async with home() as here:
            waiting, connecting = link_to(free_listen()), link_to(hole.address)
            await here.put(waiting)
            await here.put(connecting)
            await journal.wait_for("link_down")
            await until(hole.has_caller)

            await here.drop(waiting)
            await here.drop(connecting)

            assert here.links.status() == ()
            await until(lambda: not hole.has_caller())


async def test_closing_a_link_ends_its_visitors_at_the_limit_and_their_services_too(journal: Journal) -> None:
    with service() as web:
        async with gateway_parts() as parts, home() as here:
            here.drain_limit = 0.0
            address = await parts.listen(route())
            await here.offer(web=web.target)
            await here.put(link_to(parts.control))
            await journal.wait_for("link_up")
            async with visit(address) as visitor:
                answering = await web.accept()
                await answering.send(b"x")
                assert await visitor.receive() == b"x"

                await here.drop(link_to(parts.control))

                await visitor.wait_reset()
                await answering.wait_reset()


async def test_a_half_closed_connection_that_stands_still_is_dropped_on_this_side_too(
    journal: Journal,
) -> None:
    timing = replace(QUIET, half_close_timeout=0.05)
    with service() as web:
        async with gateway_parts() as parts, home() as here:
            address = await parts.listen(route())
            await here.offer(web=web.target)
            await here.put(replace(link_to(parts.control), timing=timing))
            await journal.wait_for("link_up")
            async with visit(address) as visitor:
                answering = await web.accept()
                visitor.end()
                assert await answering.receive_all() == b""

                assert (await journal.wait_for("stream_closed"))["end"] == "aborted"
                await visitor.wait_reset()
