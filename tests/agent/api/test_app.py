"""What can be asked of an agent, asked over a real unix socket."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest
from structlog.testing import capture_logs

from agent.api.app import create_app
from reconcile.actuator import ActionError
from schemas.names import ClientId
from schemas.status import GatewayStatus

from .backend import BLOG, GATEWAY, FakeGateway, entry, port, running
from .serving import calling, on_unix, problem, texts

pytestmark = pytest.mark.anyio


class FakeClient(FakeGateway):
    """An agent of the other role, as far as the API can tell."""

    def __init__(self, state_path: Path) -> None:
        super().__init__(state_path)
        self.declared = None  # type: ignore[assignment]  # as in agent.client


async def test_ping_is_answered_with_pong(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/ping")

    assert (answer.status_code, answer.text) == (200, "pong")


async def test_an_answer_says_when_it_was_given_and_is_not_kept(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/ping")

    assert "GMT" in answer.headers["date"]
    assert answer.headers["cache-control"] == "no-store"
    assert "server" not in answer.headers


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


async def test_the_status_is_the_one_of_the_agent(gateway: FakeGateway, http: httpx2.AsyncClient) -> None:
    answer = await http.get("/v1/status")

    assert answer.headers["content-type"] == "application/json"
    assert GatewayStatus.model_validate_json(answer.content) == gateway.status()


async def test_clients_are_told_in_the_words_of_threshold(
    gateway: FakeGateway, http: httpx2.AsyncClient
) -> None:
    gateway.states = {ClientId("homelab"): ("ClientConnected", "ClientUnknown")}

    answer = await http.get("/clients")

    assert answer.text == '{"homelab":{"CurrentState":"ClientConnected","LastState":"ClientUnknown"}}'


async def test_tunnels_of_the_file_are_listed_too(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/tunnels")).json() == [
        entry("homelab", 443, ListenHostnameGlob="blog.example.com")
    ]


async def test_declared_tunnels_are_answered_and_listed(
    gateway: FakeGateway, http: httpx2.AsyncClient
) -> None:
    answer = await http.put("/tunnels", json=[entry("homelab", 25, HaProxyProxyProtocol=True)])

    assert answer.status_code == 200
    assert answer.json()[1:] == [entry("homelab", 25, HaProxyProxyProtocol=True)]
    assert (await http.get("/tunnels")).json() == answer.json()
    assert "0.0.0.0:25" in gateway.open_ports()


async def test_a_port_that_is_taken_is_named(gateway: FakeGateway, http: httpx2.AsyncClient) -> None:
    gateway.actuator.break_key(port("0.0.0.0:25"), ActionError("0.0.0.0:25 is taken by another program"))

    answer = await http.put("/tunnels", json=[entry("homelab", 25)])

    assert answer.status_code == 409
    assert texts(answer) == ["[0]: 0.0.0.0:25 is taken by another program"]
    assert problem(answer)["detail"] == "not every port could be opened; everything is as before"


async def test_every_invalid_entry_is_told_with_its_place_in_the_body(http: httpx2.AsyncClient) -> None:
    body = json.dumps([entry("homelab", 25), entry("homelab", 0), entry("home lab", 26)], indent=1)

    answer = await http.put("/tunnels", content=body)

    assert answer.status_code == 400
    first, second = problem(answer)["problems"]
    assert (first["pointer"], first["file"], first["line"]) == ("/1/ListenPort", "request body", 13)
    assert (second["pointer"], second["line"]) == ("/2/ClientId", 19)
    assert second["text"].startswith("[2].ClientId: ")


@pytest.mark.parametrize("path", ["/", "/nothing", "/tunnels/", "/v1/", "/ping/x", "//", "/%2e%2e/ping"])
async def test_what_is_not_there_is_told_with_what_is(http: httpx2.AsyncClient, path: str) -> None:
    answer = await http.get(path)

    assert answer.status_code == 404
    assert "/v1/status" in problem(answer)["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("POST", "/tunnels", "GET, HEAD, PUT"), ("PUT", "/ping", "GET, HEAD"), ("FOO", "/clients", "GET, HEAD")],
)
async def test_a_method_that_is_not_possible_is_told_with_those_that_are(
    http: httpx2.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await http.request(method, path, content=b"[]")

    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert problem(answer)["detail"] == f'"{method}" is not possible here; use {allowed}'


async def test_head_is_get_without_the_body(http: httpx2.AsyncClient) -> None:
    answer = await http.head("/v1/status")

    assert (answer.status_code, answer.content) == (200, b"")


async def test_a_defect_costs_one_request_and_a_line_in_the_log(
    gateway: FakeGateway, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def status() -> GatewayStatus:
        raise RuntimeError("a defect")

    monkeypatch.setattr(gateway, "status", status)
    with capture_logs() as logs:
        answer = await http.get("/v1/status")

    assert answer.status_code == 500
    assert "a defect in Tidegate" in problem(answer)["detail"]
    assert "RuntimeError" not in answer.text
    assert [(line["event"], line["path"]) for line in logs] == [("request_failed", "/v1/status")]
    assert (await http.get("/ping")).text == "pong"


async def test_a_client_has_no_tunnels_and_says_who_has(gateway: FakeGateway, tmp_path: Path) -> None:
    client = FakeClient(gateway.state_path)
    path = tmp_path / "client.sock"
    async with running(client), on_unix(create_app(client), path), calling(path) as http:
        for answer in (
            await http.get("/clients"),
            await http.get("/tunnels"),
            await http.put("/tunnels", json=[]),
        ):
            assert answer.status_code == 404
            assert "ask the gateway" in problem(answer)["detail"]
        for path_of_both in ("/ping", "/healthz", "/readyz", "/v1/status"):
            assert (await http.get(path_of_both)).status_code == 200
