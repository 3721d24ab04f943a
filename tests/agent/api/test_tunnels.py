"""threshold's requests, over a real unix socket."""

from __future__ import annotations

import json

import httpx2
import pytest

from reconcile.actuator import ActionError
from schemas.names import ClientId

from .backend import FakeGateway, entry, port
from .serving import problem, texts

pytestmark = pytest.mark.anyio


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
