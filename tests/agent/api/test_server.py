"""A socket on which the API is served: TLS and not, how many at once, and how it stops."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread
import httpx2
import pytest
from anyio.streams.tls import TLSStream
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from structlog.testing import capture_logs

from agent.api import server
from agent.api.admin_socket import ADMIN_SOCKET
from agent.api.app import create_app
from agent.api.declared import Stage
from agent.api.identity import ByCertificate, on_unix_socket
from agent.api.server import serve_api
from agent.gateway.revocation import Revocations
from agent.keys.certificates import Credentials
from agent.keys.crl import read_lists
from agent.process.own_socket import bind_own_socket
from tests.support import pki
from tests.support.authorities import revocation_list, serial

from .backend import BLOG, GATEWAY, FakeGateway, entry, port, running
from .serving import (
    PATIENCE,
    caller_context,
    calling,
    calling_tls,
    on_tls,
    on_unix,
    read_all,
    read_answer,
    tls_context,
)

pytestmark = pytest.mark.anyio

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@asynccontextmanager
async def dialing(tls_port: int) -> AsyncIterator[anyio.abc.SocketStream]:
    with anyio.fail_after(PATIENCE):
        async with await anyio.connect_tcp("127.0.0.1", tls_port) as stream:
            yield stream


async def test_a_client_may_declare_for_itself_over_tls(gateway: FakeGateway) -> None:
    async with (
        running(gateway),
        on_tls(gateway) as tls_port,
        calling_tls(tls_port, pki.client("homelab")) as http,
    ):
        own = await http.put("/tunnels", json=[entry("homelab", 25)])
        other = await http.put("/tunnels", json=[entry("homelab", 25), entry("office", 26)])

    assert own.status_code == 200
    assert 'declared_by = "homelab"' in (gateway.fragment_text() or "")
    assert other.status_code == 403
    assert [one["pointer"] for one in other.json()["problems"]] == ["/1/ClientId"]


async def test_an_admin_may_declare_for_everybody_over_tls(gateway: FakeGateway) -> None:
    async with (
        running(gateway),
        on_tls(gateway) as tls_port,
        calling_tls(tls_port, pki.client("ops")) as http,
    ):
        answer = await http.put("/tunnels", json=[entry("homelab", 25), entry("office", 26)])

    assert answer.status_code == 200


async def test_who_is_not_listed_gets_a_pong_and_nothing_else(gateway: FakeGateway) -> None:
    gateway.write(GATEWAY, "clients: [{id: homelab}]\n", BLOG)
    async with (
        running(gateway),
        on_tls(gateway) as tls_port,
        calling_tls(tls_port, pki.client("stranger")) as http,
    ):
        assert (await http.get("/ping")).text == "pong"
        for path in ("/healthz", "/readyz", "/v1/status", "/clients", "/tunnels"):
            answer = await http.get(path)
            assert answer.status_code == 403
            assert 'the gateway does not list "stranger"' in answer.json()["detail"]
        assert (await http.put("/tunnels", json=[])).status_code == 403


async def test_an_admission_that_changes_holds_on_a_connection_that_is_open(gateway: FakeGateway) -> None:
    gateway.write(GATEWAY, "clients: [{id: homelab}]\n", BLOG)
    async with (
        running(gateway),
        on_tls(gateway) as tls_port,
        calling_tls(tls_port, pki.client("office")) as http,
    ):
        assert (await http.get("/clients")).status_code == 403

        gateway.write(GATEWAY, "clients: [{id: homelab}, {id: office}]\n", BLOG)
        await gateway.turn()

        assert (await http.get("/clients")).status_code == 200


async def test_other_authorities_hold_on_a_connection_that_is_open(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who came in through the old ones is asked to come again, and TLS decides."""
    monkeypatch.setattr("agent.api.connection.IDLE_PATIENCE", 600)
    authorities = ["old"]
    listening = socket.create_server(("127.0.0.1", 0))
    serve = partial(
        serve_api,
        partial(create_app, gateway),
        listening,
        context=tls_context(),
        authorities=lambda: authorities[0],
        identify=ByCertificate(gateway.admission),
    )
    async with running(gateway), anyio.create_task_group() as tasks:
        await tasks.start(serve)
        tls_port = listening.getsockname()[1]
        async with calling_tls(tls_port, pki.client("ops")) as http:
            assert (await http.get("/clients")).status_code == 200

            authorities[0] = "new"

            refused = await http.get("/clients")
            assert refused.status_code == 421
            assert "the gateway's client CA was replaced" in refused.json()["detail"]
        async with calling_tls(tls_port, pki.client("ops")) as http:
            assert (await http.get("/clients")).status_code == 200
        tasks.cancel_scope.cancel()


async def test_a_certificate_that_is_revoked_holds_on_a_connection_that_is_open(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.api.connection.IDLE_PATIENCE", 600)
    stolen = pki.client("ops")
    revocations = [Revocations()]
    listening = socket.create_server(("127.0.0.1", 0))
    serve = partial(
        serve_api,
        partial(create_app, gateway),
        listening,
        context=tls_context(),
        identify=ByCertificate(
            gateway.admission, lambda certificate, chain: revocations[0].refuse(certificate, chain)
        ),
    )
    async with running(gateway), anyio.create_task_group() as tasks:
        await tasks.start(serve)
        tls_port = listening.getsockname()[1]
        async with calling_tls(tls_port, stolen) as http, calling_tls(tls_port, pki.client("ops")) as other:
            assert (await http.get("/clients")).status_code == 200
            lists = read_lists(
                revocation_list(pki.authority(), serial(stolen)),
                authorities=pki.authority().certificate,
                name="crl.pem",
            )

            revocations[0] = Revocations(lists=lists)

            refused = await http.get("/clients")
            assert refused.status_code == 403
            assert "this certificate has been revoked" in refused.json()["detail"]
            assert (await other.get("/clients")).status_code == 200
        tasks.cancel_scope.cancel()


async def test_a_tls_session_of_before_tells_nobody_who_calls(gateway: FakeGateway) -> None:
    """The certificate may have been revoked, or have expired, and what vouches for it is not shown again."""
    context = caller_context(pki.client("ops"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def ask(port: int, session: ssl.SSLSession | None) -> tuple[bytes, ssl.SSLSession | None]:
        with (
            socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as tls,
        ):
            assert tls.session_reused is (session is not None), "or nothing is shown"
            tls.sendall(b"GET /clients HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return tls.makefile("rb").read(), tls.session

    async with running(gateway), on_tls(gateway) as tls_port:
        answer, session = await anyio.to_thread.run_sync(ask, tls_port, None)
        again, _ = await anyio.to_thread.run_sync(ask, tls_port, session)

    assert answer.startswith(b"HTTP/1.1 200")
    assert again.startswith(b"HTTP/1.1 421")
    assert b"connect with a new session" in again


@pytest.mark.parametrize(
    ("credentials", "reason"),
    [
        (pki.client(signed_by=pki.authority("somebody else")), "not signed by the authority"),
        (pki.client(now=LONG_AGO), "expired"),
        (pki.gateway(), "purpose"),
    ],
    ids=["another authority", "expired", "a gateway's"],
)
async def test_a_certificate_that_is_not_good_costs_its_owner_a_line_in_our_log(
    gateway: FakeGateway, credentials: Credentials, reason: str
) -> None:
    with capture_logs() as logs:
        async with running(gateway), on_tls(gateway) as tls_port:
            async with calling_tls(tls_port, credentials) as http:
                with pytest.raises(httpx2.TransportError):
                    await http.get("/ping")
            async with calling_tls(tls_port, pki.client()) as http:
                assert (await http.get("/ping")).text == "pong"

    (line,) = [line for line in logs if line["event"] == "api_handshake_failed"]
    assert line["peer"].startswith("127.0.0.1:")
    assert reason in line["reason"]
    assert not line.get("exc_info")


async def test_a_caller_without_a_certificate_is_not_let_in(gateway: FakeGateway) -> None:
    without = ssl.create_default_context(cadata=pki.authority().certificate.decode())
    async with running(gateway), on_tls(gateway) as tls_port, dialing(tls_port) as stream:
        # TLS 1.3 lets a client go on until it reads.
        tls = await TLSStream.wrap(stream, hostname="localhost", ssl_context=without)
        with pytest.raises((ssl.SSLError, anyio.BrokenResourceError)):
            await tls.receive()


@pytest.mark.parametrize(
    "garbage",
    [b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\x00" * 300],
    ids=["http", "broken hello", "zeros"],
)
async def test_what_is_not_tls_is_hung_up_on_with_a_line_in_the_log(
    gateway: FakeGateway, garbage: bytes
) -> None:
    with capture_logs() as logs:
        async with running(gateway), on_tls(gateway) as tls_port:
            async with dialing(tls_port) as stream:
                await stream.send(garbage)
                await read_all(stream)
            async with calling_tls(tls_port, pki.client()) as http:
                assert (await http.get("/ping")).text == "pong"

    assert [line["event"] for line in logs] == ["api_handshake_failed"]


async def test_a_peer_that_goes_away_in_the_handshake_leaves_a_line(gateway: FakeGateway) -> None:
    with capture_logs() as logs:
        async with running(gateway), on_tls(gateway) as tls_port:
            async with dialing(tls_port):
                pass
            async with calling_tls(tls_port, pki.client()) as http:
                assert (await http.get("/ping")).text == "pong"

    assert [line["event"] for line in logs] == ["api_handshake_failed"]


async def test_a_handshake_that_does_not_come_is_not_waited_for(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HANDSHAKE_PATIENCE", 0.02)
    with capture_logs() as logs:
        async with running(gateway), on_tls(gateway) as tls_port, dialing(tls_port) as stream:
            await read_all(stream)

    (line,) = logs
    assert line["event"] == "api_handshake_failed"


async def test_a_renewed_certificate_holds_from_the_next_connection_on(gateway: FakeGateway) -> None:
    contexts = [tls_context(signed_by=pki.authority("old")), tls_context()]
    listening = socket.create_server(("127.0.0.1", 0))
    tls_port = listening.getsockname()[1]
    serve = partial(
        serve_api,
        partial(create_app, gateway),
        listening,
        context=lambda: contexts[0],
        identify=on_unix_socket,
    )
    async with anyio.create_task_group() as tasks:
        await tasks.start(serve)
        async with calling_tls(tls_port, pki.client()) as http:
            with pytest.raises(httpx2.ConnectError):
                await http.get("/ping")
            del contexts[0]
            assert (await http.get("/ping")).text == "pong"
        tasks.cancel_scope.cancel()


async def test_whoever_is_one_too_many_is_hung_up_on_and_the_others_are_served(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 2)
    path = tmp_path / "s"
    with capture_logs() as logs:
        async with on_unix(create_app(gateway), path), calling(path) as http:
            assert (await http.get("/ping")).text == "pong"
            async with await anyio.connect_unix(path), await anyio.connect_unix(path) as third:
                assert await read_all(third) == b""
                assert (await http.get("/ping")).text == "pong"

    assert [line["event"] for line in logs] == ["api_connection_refused"]


async def test_a_place_that_is_free_again_can_be_taken(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 1)
    path = tmp_path / "s"
    async with on_unix(create_app(gateway), path):
        for _ in range(3):
            async with await anyio.connect_unix(path) as stream:
                await stream.send(b"GET /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                answer = await read_answer(stream)
                await read_all(stream)
            await anyio.wait_all_tasks_blocked()
            assert answer.body == b"pong"


async def test_a_socket_that_cannot_listen_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match="not supported"):
        await serve_api(lambda: app_of(pong), socket.socket(type=socket.SOCK_DGRAM), identify=on_unix_socket)


# How it stops


async def pong(request: Request) -> Response:
    return PlainTextResponse("pong")


def app_of(endpoint: Callable[[Request], Awaitable[Response]]) -> Starlette:
    return Starlette(routes=[Route("/", endpoint)])


async def test_stopping_closes_what_is_idle_at_once(gateway: FakeGateway, tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with on_unix(create_app(gateway), path):
        silent = await anyio.connect_unix(path)
        idle = await anyio.connect_unix(path)
        await idle.send(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
        await read_answer(idle)

    assert (await read_all(silent), await read_all(idle)) == (b"", b"")
    await silent.aclose()
    await idle.aclose()


async def test_stopping_lets_an_answer_under_way_come_to_its_end(tmp_path: Path) -> None:
    reached, released = anyio.Event(), anyio.Event()

    async def slow(request: Request) -> Response:
        reached.set()
        await released.wait()
        return PlainTextResponse("in time")

    async with _stop(app_of(slow), tmp_path / "s", reached) as stream:
        released.set()
        answer = await read_answer(stream)

    assert answer.body == b"in time"


async def test_stopping_does_not_wait_for_an_answer_that_does_not_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.api.connection.GRACE", 0.02)
    reached, ended = anyio.Event(), anyio.Event()

    async def hanging(request: Request) -> Response:
        reached.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
        raise AssertionError

    with capture_logs() as logs:
        async with _stop(app_of(hanging), tmp_path / "s", reached) as stream:
            assert await read_all(stream) == b""

    assert ended.is_set()
    assert logs == []


async def test_stopping_with_a_declaration_under_way_ends_it_one_way_or_the_other(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.api.connection.GRACE", 0.02)
    body = json.dumps([entry("homelab", 25)])
    request = f"PUT /tunnels HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    async with running(gateway):
        hold = gateway.actuator.hold_key(port("0.0.0.0:25"))
        async with _stop(create_app(gateway), tmp_path / "s", hold.reached, request.encode()) as stream:
            stages = [gateway.declared.stage]
            assert await read_all(stream) == b""
            hold.released.set()

        # Nobody was told, and it is in force all the same: serve_api did not return before it was.
        stages.append(gateway.declared.stage)
        assert stages == [Stage.APPLYING, Stage.IDLE]
        assert gateway.open_ports()["0.0.0.0:25"] == ["homelab-25"]


async def test_the_address_is_free_while_the_last_answers_are_given(tmp_path: Path) -> None:
    reached, released = anyio.Event(), anyio.Event()

    async def slow(request: Request) -> Response:
        reached.set()
        await released.wait()
        return PlainTextResponse("")

    async with _stop(app_of(slow), tmp_path / "s", reached):
        bind_own_socket(tmp_path / "s", ADMIN_SOCKET).close()  # nobody serves it any more
        released.set()


@asynccontextmanager
async def _stop(
    app: Starlette,
    path: Path,
    reached: anyio.Event,
    request: bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
) -> AsyncIterator[anyio.abc.SocketStream]:
    """A caller whose request has reached the app of a server that is stopping."""
    listening = bind_own_socket(path, ADMIN_SOCKET)
    scope = anyio.CancelScope()

    async def serve(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        with scope:
            await serve_api(lambda: app, listening, identify=on_unix_socket, task_status=task_status)

    async with anyio.create_task_group() as tasks:
        await tasks.start(serve)
        async with await anyio.connect_unix(path) as stream:
            await stream.send(request)
            await reached.wait()
            scope.cancel()
            await anyio.wait_all_tasks_blocked()
            yield stream
