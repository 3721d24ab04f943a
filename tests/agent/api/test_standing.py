"""How the agent is doing, asked over a real unix socket."""

from __future__ import annotations

import httpx2
import pytest

from reconcile.actuator import ActionError
from schemas.status import GatewayStatus, LinkPhase, OwnTunnelStatus, Renewal
from tests.support.statuses import client

from .backend import BLOG, GATEWAY, FakeGateway, port
from .serving import problem

pytestmark = pytest.mark.anyio


async def test_ping_is_answered_with_pong(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/ping")

    assert (answer.status_code, answer.text) == (200, "pong")


async def test_the_process_lives_whatever_becomes_of_the_state(
    gateway: FakeGateway, http: httpx2.AsyncClient
) -> None:
    gateway.write("nonsense")
    await gateway.turn()

    assert (await http.get("/healthz")).status_code == 200


async def test_an_agent_is_ready_when_its_state_is_in_force(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/readyz")

    assert (answer.status_code, answer.text) == (200, "ready\n")


async def test_an_agent_that_is_not_ready_says_every_reason(
    gateway: FakeGateway, http: httpx2.AsyncClient
) -> None:
    gateway.actuator.break_key(port("0.0.0.0:443"), ActionError("0.0.0.0:443 is taken by another program"))
    gateway.actuator.lose_key(port("0.0.0.0:443"))
    gateway.write(GATEWAY, BLOG.replace("web", "web web"))
    await gateway.turn()

    while "is opening" in (answer := await http.get("/readyz")).text:
        pass  # it is tried again at this very moment

    assert answer.status_code == 503
    file_problem, port_problem = problem(answer)["problems"]
    assert (file_problem["file"], file_problem["line"]) == (str(gateway.state_path), 6)
    assert port_problem["text"] == "listener 0.0.0.0:443 is failed: 0.0.0.0:443 is taken by another program"


async def test_a_client_that_is_not_ready_says_what_its_gateways_do_not_have(
    gateway: FakeGateway, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    up, _ = client().links
    old = up.model_copy(update={"renewal": Renewal.FAILED, "message": "still on the settings of before"})
    tunnel = OwnTunnelStatus(
        gateway="gw1:9056",
        name="blog",
        listen=(":443",),
        hostname=(),
        service="web",
        in_force=False,
        message="it is taken",
    )
    status = client().model_copy(update={"links": (up, old), "tunnels": (tunnel,), "ready": False})
    monkeypatch.setattr(gateway, "status", lambda: status)

    assert [found["text"] for found in problem(await http.get("/readyz"))["problems"]] == [
        "gw1.example.com:9056, session 1: still on the settings of before",
        "the tunnel blog is not in force at gw1:9056: it is taken",
    ]


async def test_a_client_without_a_gateway_says_why_it_reaches_none(
    gateway: FakeGateway, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    up, down = client().links
    status = client().model_copy(update={"links": (up, down), "tunnels": (), "ready": False})
    monkeypatch.setattr(gateway, "status", lambda: status)

    told = problem(await http.get("/readyz"))

    assert (down.phase, bool(down.message)) == (LinkPhase.WAITING, True)
    assert [found["text"] for found in told["problems"]] == [f"{down.gateway}, session 1: {down.message}"]
    assert told["detail"] == "the agent is not ready"


async def test_the_status_is_the_one_of_the_agent(gateway: FakeGateway, http: httpx2.AsyncClient) -> None:
    answer = await http.get("/v1/status")

    assert answer.headers["content-type"] == "application/json"
    assert GatewayStatus.model_validate_json(answer.content) == gateway.status()
