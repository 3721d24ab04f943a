"""One session of a client: it is not cut, whoever wants it to end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import anyio
import pytest

from agent.client import link_session
from agent.client.link_session import DRAINED, REPLACED, LinkSession, SessionState
from agent.client.places import Place
from agent.client.services import Services
from agent.process.spawn import IsolatedTasks
from reconcile.desired import LinkSpec, ServicesSpec
from schemas.messages import PROTOCOL, Drain, FailureCode, Hello, Replaced, StreamDialed, StreamFailed
from schemas.names import ClientId, HostPort, ServiceEntry, ServiceName, parse_target
from schemas.references import InlinePem
from schemas.state import TlsClient
from tests.support import pki
from tests.support.gateway_parts import QUIET, GatewayParts, gateway_parts, route
from tests.support.journal import PATIENCE, Journal
from tests.support.peers import service, until, visit
from transport.pump.sockets import dial_link
from transport.tls import client_context

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

HOMELAB = ClientId("homelab")
WEB = ServiceName("web")
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
NOTHING = InlinePem("")


class Home:
    """One session and its surroundings."""

    def __init__(self, parts: GatewayParts, spawn: IsolatedTasks) -> None:
        self.services = Services()
        self.states: list[SessionState] = []
        self._spawn = spawn
        spec = LinkSpec(
            gateway=HostPort(parts.control.host, parts.control.port),
            session=1,
            client_id=HOMELAB,
            tls=TlsClient(cert=NOTHING, key=NOTHING, ca=NOTHING),
            timing=replace(QUIET, ping_interval=PATIENCE),
        )
        self.session = LinkSession(
            spec,
            Place(spec.gateway),
            1,
            self.services,
            lambda: NOW,
            lambda session: self.states.append(session.state),
        )

    async def connect(self, target: str) -> None:
        await self.services.update(ServicesSpec(targets=((WEB, ServiceEntry(parse_target(target))),)))
        gateway, own = self.session.spec.gateway, pki.client()
        context = client_context(cert=own.certificate, key=own.key, ca=pki.authority().certificate)
        link = await dial_link(gateway.host, gateway.port, context, handshake_timeout=PATIENCE)
        hello = Hello(protocol=PROTOCOL, id=HOMELAB, software="test", services=self.services.names)
        await self.session.greet(link, hello)
        self._spawn(self.session.run, self._spawn)


@asynccontextmanager
async def home(parts: GatewayParts, target: str = "127.0.0.1:1") -> AsyncIterator[Home]:
    async with anyio.create_task_group() as tasks:
        made = Home(parts, IsolatedTasks(tasks))
        await made.connect(target)
        yield made
        tasks.cancel_scope.cancel()


async def test_a_session_without_visitors_is_left_at_once() -> None:
    async with gateway_parts() as parts, home(parts) as here:
        with anyio.fail_after(PATIENCE):
            await here.session.leave(10 * PATIENCE, "enough")

        await until(lambda: here.session.state is SessionState.OVER)
        assert here.session.reason == "enough"
        assert here.states == [SessionState.LEAVING, SessionState.OVER]


async def test_a_visitor_that_came_before_the_gateway_heard_of_it_is_served() -> None:
    with service() as web:
        async with gateway_parts() as parts, home(parts, web.target) as here:
            address = await parts.listen(route())
            async with visit(address) as visitor, anyio.create_task_group() as tasks:
                # The stream is on its way when the client says that it drains.
                await until(lambda: parts.listeners.open == 1)
                tasks.start_soon(here.session.leave, PATIENCE, "enough")
                await visitor.send(b"question")
                answering = await web.accept()
                assert await answering.receive_exactly(8) == b"question"
                await until(lambda: parts.sessions.serving([HOMELAB], WEB) is None)
                await answering.send(b"answer")
                answering.end()
                visitor.end()
                assert await visitor.receive_all() == b"answer"

            assert here.session.state is SessionState.OVER or here.session.session.link.is_lost


async def test_a_visitor_that_does_not_finish_is_dropped_at_the_limit() -> None:
    with service() as web:
        async with gateway_parts() as parts, home(parts, web.target) as here:
            address = await parts.listen(route())
            async with visit(address) as visitor:
                await visitor.send(b"question")
                answering = await web.accept()
                assert await answering.receive_exactly(8) == b"question"
                assert here.session.visitors == 1

                await here.session.leave(0.0, "enough")

                await visitor.wait_reset()
                await answering.wait_reset()


async def test_a_gateway_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_session, "_ANSWER_TIMEOUT", 0.0)
    async with gateway_parts() as parts, home(parts) as here:
        with anyio.fail_after(PATIENCE):
            await here.session.leave(10 * PATIENCE, "enough")


async def test_a_session_that_breaks_while_it_is_left_is_over() -> None:
    with service() as web:
        async with gateway_parts() as parts, home(parts, web.target) as here:
            address = await parts.listen(route())
            async with visit(address) as visitor, anyio.create_task_group() as tasks:
                await visitor.send(b"question")
                await (await web.accept()).receive_exactly(8)
                tasks.start_soon(here.session.leave, 10 * PATIENCE, "enough")
                await until(lambda: here.session.state is SessionState.LEAVING)

                (client,) = parts.sessions.connected()[HOMELAB]
                client.session.link.abort()

                await until(lambda: here.session.state is SessionState.OVER)


async def test_a_session_that_is_over_is_left_by_nobody() -> None:
    async with gateway_parts() as parts, home(parts) as here:
        here.session.session.close("it broke")
        await until(lambda: here.session.state is SessionState.OVER)

        await here.session.leave(PATIENCE, "enough")

        assert here.session.reason == "it broke"
        assert here.states == [SessionState.OVER]


async def test_a_gateway_that_drains_ends_the_session_with_that_as_the_reason() -> None:
    async with gateway_parts() as parts, home(parts) as here:
        parts.sessions.drain()
        parts.sessions.drain()
        await until(lambda: here.session.state is SessionState.GATEWAY_DRAINS)

        await parts.sessions.end("the gateway is stopping")

        await until(lambda: here.session.state is SessionState.OVER)
        assert here.session.reason == DRAINED
        assert here.states == [SessionState.GATEWAY_DRAINS, SessionState.OVER]


async def test_a_drain_that_the_gateway_says_while_we_drain_changes_nothing() -> None:
    with service() as web:
        async with gateway_parts() as parts, home(parts, web.target) as here:
            address = await parts.listen(route())
            async with visit(address) as visitor, anyio.create_task_group() as tasks:
                await visitor.send(b"question")
                answering = await web.accept()
                await answering.receive_exactly(8)
                tasks.start_soon(here.session.leave, PATIENCE, "enough")
                await until(lambda: here.session.state is SessionState.LEAVING)

                parts.sessions.drain()
                await answering.send(b"x")

                assert await visitor.receive() == b"x"
                assert here.session.state is SessionState.LEAVING
                tasks.cancel_scope.cancel()


async def test_a_session_that_is_replaced_ends_and_says_so() -> None:
    async with gateway_parts() as parts, home(parts) as here:
        (client,) = parts.sessions.connected()[HOMELAB]
        client.session.tell(Replaced())
        client.session.tell(Drain())

        await until(lambda: here.session.state is SessionState.OVER)
        assert here.session.was_replaced
        assert here.session.reason == REPLACED


async def test_a_session_that_is_cut_short_says_that_the_client_stops() -> None:
    async with gateway_parts() as parts:
        async with home(parts) as here:
            await until(lambda: HOMELAB in parts.sessions.connected())
        assert (here.session.state, here.session.reason) == (SessionState.OVER, "the client is stopping")


@pytest.mark.parametrize(
    "message",
    [
        StreamFailed(stream=3, code=FailureCode.OTHER, message="m"),
        StreamDialed(stream=3, source=("192.0.2.7", 1)),
    ],
)
async def test_what_a_gateway_says_of_streams_in_one_breath_with_its_welcome_means_nothing(
    message: StreamFailed | StreamDialed,
) -> None:
    async with gateway_parts() as parts, anyio.create_task_group() as tasks:
        Home(parts, IsolatedTasks(tasks)).session.message_received(message)


class Defective:
    """A connection that cannot be looked at."""

    progress = 0

    def abort(self) -> None:
        raise RuntimeError("a bug")


async def test_a_session_that_ends_by_a_defect_says_so(journal: Journal) -> None:
    async with gateway_parts() as parts, home(parts) as here:
        here.session.lingering.add(Defective())
        here.session.lingering.set_limit(0.0)

        await until(lambda: here.session.state is SessionState.OVER)
        assert here.session.reason == "a defect in Tidegate, which the log shows; please report it"
        assert await journal.wait_for("task_failed")
