"""``GET /v1/explain``, asked over a real unix socket."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from agent.api.app import create_app
from schemas.explanation import Explanation
from schemas.names import ClientId, ServiceName
from tests.support import pki

from .backend import FakeGateway, running
from .serving import calling, calling_tls, on_tls, on_unix, problem
from .test_app import FakeClient

pytestmark = pytest.mark.anyio

NAME = "blog.example.com"


async def test_a_visitor_who_gets_through_and_one_who_does_not(
    gateway: FakeGateway, http: httpx2.AsyncClient
) -> None:
    gateway.offers[ClientId("homelab")] = frozenset({ServiceName("web")})
    through = await http.get("/v1/explain", params={"listen": "203.0.113.7:443", "sni": NAME})
    refused = await http.get("/v1/explain", params={"listen": "443", "host": "other.test"})

    found = Explanation.model_validate_json(through.content)
    assert (through.status_code, found.served, found.client, found.name) == (200, True, "homelab", NAME)
    found = Explanation.model_validate_json(refused.content)
    assert (refused.status_code, found.served, found.gets) == (200, False, "HTTP 404 Not Found")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "listen is missing"),
        ("?listen=", "the address is empty"),
        ("?listen=blog.example.com:443", "is no address of the gateway"),
        ("?listen=443&sni=a.test&host=a.test", "not both"),
        ("?listen=443&snl=a.test", "did you mean sni?"),
        ("?listen=443&x=1", "there are listen, sni, host"),
        ("?listen=443&listen=80", "listen is given twice"),
        ("?listen=443&sni=%00", "may hold only letters"),
        ("?listen=443&sni=" + "x" * 300, "more than"),
        ("?listen=%F0%9F%92%A9:443", "is no address|not an IP address"),
    ],
)
async def test_a_question_that_is_none_is_told_how_to_ask(
    http: httpx2.AsyncClient, query: str, message: str
) -> None:
    answer = await http.get(f"/v1/explain{query}")

    assert answer.status_code == 400
    assert any(words in problem(answer)["detail"] for words in message.split("|"))


async def test_every_client_may_ask(gateway: FakeGateway) -> None:
    async with running(gateway), on_tls(gateway) as port, calling_tls(port, pki.client("homelab")) as http:
        assert (await http.get("/v1/explain", params={"listen": "443"})).status_code == 200


async def test_a_client_has_no_visitors(gateway: FakeGateway, tmp_path: Path) -> None:
    client = FakeClient(gateway.state_path)
    path = tmp_path / "s"
    async with running(client), on_unix(create_app(client), path), calling(path) as http:
        answer = await http.get("/v1/explain", params={"listen": "443"})

    assert answer.status_code == 404
    assert "ask the gateway" in problem(answer)["detail"]
