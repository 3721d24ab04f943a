"""What other files would change, asked over a real unix socket."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from agent.api.app import create_app
from agent.api.planning import LIMIT
from tests.support import pki

from .backend import BLOG, GATEWAY, FakeGateway, running, written
from .serving import calling, calling_tls, on_tls, on_unix, problem, texts

pytestmark = pytest.mark.anyio

MAIL = '  - {name: mail, listen: "0.0.0.0:25", client: homelab, service: smtp}\n'


async def test_files_are_planned_and_nothing_changes(gateway: FakeGateway, http: httpx2.AsyncClient) -> None:
    wished = {"files": [{"name": "new.yaml", "text": written(GATEWAY, BLOG) + MAIL}]}

    answer = await http.post("/v1/plan", json=wished)

    assert answer.status_code == 200
    report = answer.json()
    assert (report["format_version"], report["role"], report["generation"]) == (1, "gateway", 1)
    assert [(one["verb"], one["kind"], one["name"]) for one in report["changes"]] == [
        ("+", "listener", "0.0.0.0:25")
    ]
    assert "0.0.0.0:25" not in gateway.open_ports()


async def test_an_agent_that_stops_takes_its_closed_ports_for_no_plan(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    async with running(gateway):
        pass
    async with on_unix(create_app(gateway), tmp_path / "s"), calling(tmp_path / "s") as http:
        answer = await http.post("/v1/plan", content="", headers={"Content-Type": "application/yaml"})

    assert (answer.status_code, "the agent is stopping" in problem(answer)["detail"]) == (503, True)


@pytest.mark.parametrize("kind", ["application/yaml", "application/yaml; charset=utf-8"])
async def test_one_file_can_be_sent_as_it_is(http: httpx2.AsyncClient, kind: str) -> None:
    answer = await http.post("/v1/plan", content=written(GATEWAY, BLOG), headers={"Content-Type": kind})

    assert (answer.status_code, answer.json()["changes"]) == (200, [])


async def test_toml_is_a_language_of_state_files_too(http: httpx2.AsyncClient) -> None:
    answer = await http.post("/v1/plan", content="tidegate = 2", headers={"Content-Type": "application/toml"})

    assert answer.status_code == 422
    assert texts(answer)[0].startswith("request.toml:1:")


async def test_files_that_would_be_refused_are_answered_with_every_problem(http: httpx2.AsyncClient) -> None:
    wrong = written(GATEWAY, BLOG.replace("listen", "lisen").replace("service", "servise"))

    answer = await http.post("/v1/plan", json={"files": [{"name": "new.yaml", "text": wrong}]})

    assert answer.status_code == 422
    assert problem(answer)["detail"] == "the agent would refuse these files"
    assert all(text.startswith("new.yaml:") for text in texts(answer))
    assert len(texts(answer)) >= 2


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("{", "the body is not understood"),
        ("[]", "the body is not understood"),
        ('{"files": []}', "the body is not understood"),
        ('{"files": [{"name": "a.yaml"}]}', "the body is not understood"),
        ('{"files": [{"name": "a\\n.yaml", "text": ""}]}', "the body is not understood"),
    ],
)
async def test_a_body_that_is_not_understood_is_refused(
    http: httpx2.AsyncClient, body: str, told: str
) -> None:
    answer = await http.post("/v1/plan", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
    assert problem(answer)["detail"].startswith(told)


async def test_what_is_no_state_file_is_refused_by_its_type(http: httpx2.AsyncClient) -> None:
    answer = await http.post("/v1/plan", content="<a/>", headers={"Content-Type": "text/xml"})

    assert answer.status_code == 415
    assert "application/yaml" in problem(answer)["detail"]


async def test_a_body_that_no_state_file_can_fill_is_refused(http: httpx2.AsyncClient) -> None:
    answer = await http.post(
        "/v1/plan", content=bytes(LIMIT + 1), headers={"Content-Type": "application/yaml"}
    )

    assert answer.status_code == 413


async def test_only_an_admin_may_plan(gateway: FakeGateway) -> None:
    async with (
        running(gateway),
        on_tls(gateway) as port,
        calling_tls(port, pki.client("homelab")) as http,
    ):
        answer = await http.post("/v1/plan", json={"files": [{"name": "a.yaml", "text": ""}]})

    assert answer.status_code == 403
    assert "no admin" in problem(answer)["detail"]
