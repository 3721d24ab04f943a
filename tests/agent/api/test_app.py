"""Everything that can be asked of an agent, and how it is told what cannot."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from structlog.testing import capture_logs

from agent.api.app import create_app
from schemas.status import GatewayStatus

from .backend import FakeGateway, running
from .serving import calling, on_unix, problem

pytestmark = pytest.mark.anyio


class FakeClient(FakeGateway):
    """An agent of the other role, as far as the API can tell."""

    def __init__(self, state_path: Path) -> None:
        super().__init__(state_path)
        self.declared = None  # type: ignore[assignment]  # as in agent.client

    def facts(self) -> None:
        """As in agent.client."""


async def test_an_answer_says_when_it_was_given_and_is_not_kept(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/ping")

    assert "GMT" in answer.headers["date"]
    assert answer.headers["cache-control"] == "no-store"
    assert "server" not in answer.headers


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
