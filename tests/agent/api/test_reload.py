"""``POST /v1/reload``, asked over a real unix socket."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from agent.api import reload
from agent.api.app import create_app
from reconcile.actuator import ActionError
from schemas.reload_report import ReloadReport
from tests.support import pki

from .backend import BLOG, GATEWAY, FakeGateway, port, running
from .serving import calling, calling_tls, on_tls, on_unix, problem

pytestmark = pytest.mark.anyio

MAIL = """
      - {name: mail, listen: "0.0.0.0:25", client: homelab, service: smtp}
"""


async def test_what_was_written_before_is_in_force_when_it_answers(
    gateway: FakeGateway, http: httpx2.AsyncClient
) -> None:
    gateway.write(GATEWAY, BLOG + MAIL)

    answer = await http.post("/v1/reload")

    report = ReloadReport.model_validate_json(answer.content)
    assert (answer.status_code, report.generation, report.accepted, report.in_force) == (200, 2, True, True)
    assert report.digest == gateway.loop.status.digest
    assert "0.0.0.0:25" in gateway.open_ports()


async def test_a_refused_file_is_an_answer_with_every_problem_at_its_place(
    gateway: FakeGateway, http: httpx2.AsyncClient
) -> None:
    gateway.write(GATEWAY, BLOG.replace("web", "web web"), "nonsense: 1\n")

    report = ReloadReport.model_validate_json((await http.post("/v1/reload")).content)

    assert (report.accepted, report.generation, report.in_force) == (False, 1, True)
    file = str(gateway.state_path)
    assert [(one.file, one.line) for one in report.problems] == [(file, 6), (file, 7)]


async def test_a_port_that_cannot_be_opened_is_named(gateway: FakeGateway, http: httpx2.AsyncClient) -> None:
    gateway.actuator.break_key(port("0.0.0.0:25"), ActionError("0.0.0.0:25 is taken by another program"))
    gateway.write(GATEWAY, BLOG + MAIL)

    report = ReloadReport.model_validate_json((await http.post("/v1/reload")).content)

    assert (report.accepted, report.in_force, report.observed_generation) == (True, False, 1)
    assert [one.message for one in report.failed] == ["0.0.0.0:25 is taken by another program"]


async def test_only_an_admin_may_ask(gateway: FakeGateway) -> None:
    async with running(gateway), on_tls(gateway) as tls:
        turn = gateway.loop.status.turn
        async with calling_tls(tls, pki.client("homelab")) as homelab:
            refused = await homelab.post("/v1/reload")
        assert gateway.loop.status.turn == turn
        async with calling_tls(tls, pki.client("ops")) as ops:
            allowed = await ops.post("/v1/reload")

    assert (refused.status_code, allowed.status_code) == (403, 200)
    assert "homelab is no admin" in problem(refused)["detail"]


async def test_a_turn_that_does_not_end_is_not_waited_for_for_ever(
    gateway: FakeGateway, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "PATIENCE", 0.05)
    hold = gateway.actuator.hold_key(port("0.0.0.0:25"))
    gateway.write(GATEWAY, BLOG + MAIL)

    answer = await http.post("/v1/reload")

    hold.released.set()
    assert answer.status_code == 504
    assert "look at the status" in problem(answer)["detail"]


async def test_an_agent_that_stops_says_so(gateway: FakeGateway, tmp_path: Path) -> None:
    async with running(gateway):
        pass
    async with on_unix(create_app(gateway), tmp_path / "s"), calling(tmp_path / "s") as http:
        answer = await http.post("/v1/reload")

    assert answer.status_code == 503


async def test_a_body_that_nobody_asked_for_is_not_waited_for(
    gateway: FakeGateway, http: httpx2.AsyncClient
) -> None:
    """However large it is, and the connection is of use afterwards or is closed."""
    answer = await http.post("/v1/reload", content=b"x" * 5_000_000)

    assert answer.status_code == 200
    assert (await http.get("/ping")).text == "pong"
