"""Whatever is sent to whichever operation: an answer, and never a defect."""

from __future__ import annotations

import httpx2
import pytest
from structlog.testing import capture_logs

from agent.api.app import OPERATIONS
from agent.api.operation import Operation

from .backend import FakeGateway
from .serving import problem

pytestmark = pytest.mark.anyio

BODIES = [
    b"",
    b"\0",
    b"null",
    b"[]",
    b"{}",
    b"7",
    b'"text"',
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    b'{"tidegate": 1e999, "gateway": {}, "tunnels": [{"name": "\\ud800"}]}',
    b'{"tidegate": 1, "gateway": [], "clients": 7, "tunnels": [{"name": "a", "listen": {"b": []}}]}',
    b'{"tidegate": 1, "tidegate": 1, "gateway": null}',
    b'[{"ClientId": {"a": 1}, "ListenPort": 1e400, "BackEndService": ["x"]}]',
    b'{"files": [{"name": "../../x.yaml", "text": "\\u0000"}]}',
    b'{"files": [{"name": "x.yaml", "text": "&a [*a, *a]"}]}',
    b'{"files": 1, "within": "-1s"}',
]
QUERIES = ["", "?listen=%00", "?listen=:443&sni=%ff%fe", "?listen[]=1", "?" + "a=1&" * 500]
QUIET = [one for one in OPERATIONS if one.path != "/v1/events"]  # which does not end


def name(one: Operation) -> str:
    return f"{one.method} {one.path}"


@pytest.mark.parametrize("one", QUIET, ids=name)
async def test_no_body_makes_an_operation_trip(
    gateway: FakeGateway, http: httpx2.AsyncClient, one: Operation
) -> None:
    path = one.path.replace("{generation:int}", "99999999999999999999")
    before = gateway.state_path.read_bytes()
    with capture_logs() as logs:
        for body in BODIES:
            for kind in ("application/json", "application/yaml", "x"):
                headers = {"If-Match": "*", "Content-Type": kind}
                answer = await http.request(one.method, path, content=body, headers=headers)
                _check(answer)
    assert [line for line in logs if line["event"] == "request_failed"] == []
    assert gateway.state_path.read_bytes() == before
    assert (await http.get("/ping")).text == "pong"


@pytest.mark.parametrize("one", QUIET, ids=name)
async def test_no_query_and_no_header_makes_an_operation_trip(
    http: httpx2.AsyncClient, one: Operation
) -> None:
    path = one.path.replace("{generation:int}", "0")
    for query in QUERIES:
        headers = {"If-Match": '"\xff"', "If-None-Match": "W/", "Content-Type": "application/json; a"}
        encoded = {key.encode(): value.encode("latin-1") for key, value in headers.items()}
        _check(await http.request(one.method, path + query, headers=encoded, content=b"{"))


def _check(answer: httpx2.Response) -> None:
    assert answer.status_code < 600
    assert answer.status_code != 500, answer.text
    if answer.status_code >= 400:
        problem(answer)
