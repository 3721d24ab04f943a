"""A change that is undone unless it is confirmed, over HTTP."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx2
import pytest

from agent.past.undoing import note_path
from reconcile.placing import place
from tests.support import pki

from .backend import FakeGateway, running
from .serving import calling_tls, on_tls, problem, texts

pytestmark = pytest.mark.anyio

PATH = "/v1/confirmation"


def content(gateway: FakeGateway) -> bytes:
    return gateway.state_path.read_bytes()


def change(gateway: FakeGateway) -> dict[str, Any]:
    """That of a comment at the end of the state file."""
    old = content(gateway)
    return {
        "within": 60,
        "files": [
            {
                "name": "gateway.yaml",
                "before": hashlib.sha256(old).hexdigest(),
                "after": hashlib.sha256(old + b"# new\n").hexdigest(),
            }
        ],
    }


async def test_a_change_can_be_kept(http: httpx2.AsyncClient, gateway: FakeGateway) -> None:
    assert (await http.get(PATH)).json()["stage"] == "None"
    armed = (await http.put(PATH, json=change(gateway))).json()
    assert (armed["stage"], armed["files"]) == ("Pending", ["gateway.yaml"])
    place(gateway.state_path, content(gateway) + b"# new\n")

    assert (await http.post(PATH)).json()["stage"] == "Confirmed"
    assert content(gateway).endswith(b"# new\n")
    again = await http.post(PATH)
    assert (again.status_code, texts(again)) == (409, ["the change of gateway.yaml was confirmed"])


async def test_a_change_can_be_undone_before_its_time(http: httpx2.AsyncClient, gateway: FakeGateway) -> None:
    old = content(gateway)
    await http.put(PATH, json=change(gateway))
    place(gateway.state_path, old + b"# new\n")

    assert (await http.delete(PATH)).json()["stage"] == "Restored"
    assert content(gateway) == old
    assert (await http.delete(PATH)).status_code == 409


async def test_a_second_change_is_a_conflict(http: httpx2.AsyncClient, gateway: FakeGateway) -> None:
    await http.put(PATH, json=change(gateway))
    answer = await http.put(PATH, json=change(gateway))

    assert answer.status_code == 409
    assert problem(answer)["detail"].startswith("another change is to be confirmed by ")


async def test_a_change_of_something_else_is_a_conflict(
    http: httpx2.AsyncClient, gateway: FakeGateway
) -> None:
    body = change(gateway)
    body["files"][0]["name"] = "other.yaml"
    answer = await http.put(PATH, json=body)

    assert answer.status_code == 409
    assert "is no file of this agent's state: name one that is; nothing was changed" in texts(answer)[0]


@pytest.mark.parametrize(
    "damage",
    [
        {"within": 0},
        {"within": 1e9},
        {"files": []},
        {"files": [{"name": "a/b", "before": None, "after": None}]},
        {"x": 1},
    ],
    ids=str,
)
async def test_a_body_that_is_not_understood_changes_nothing(
    http: httpx2.AsyncClient, gateway: FakeGateway, damage: dict[str, Any]
) -> None:
    answer = await http.put(PATH, json=change(gateway) | damage)

    assert answer.status_code == 400
    assert not is_noted(gateway)


def is_noted(gateway: FakeGateway) -> bool:
    return note_path(gateway.state_path).exists()


async def test_only_an_admin_may_change_anything(gateway: FakeGateway) -> None:
    async with running(gateway), on_tls(gateway) as port, calling_tls(port, pki.client("homelab")) as client:
        assert (await client.get(PATH)).status_code == 200
        assert (await client.put(PATH, json=change(gateway))).status_code == 403
        assert (await client.post(PATH)).status_code == 403
        assert (await client.delete(PATH)).status_code == 403
