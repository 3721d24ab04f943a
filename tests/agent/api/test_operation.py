"""An operation is answered for those who may ask, on its method and path and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from agent.api.app import OPERATIONS, create_app
from agent.api.identity import Caller, attach
from agent.api.operation import TEXT, Ask, Content, Rights, operation, routes
from agent.api.problems import ApiError
from schemas.names import ClientId

from .backend import FakeGateway

ANSWER = Content(description="A word.", of=TEXT, media_type="text/plain")


@operation("GET", "/x/{number:int}", summary="Read", rights=Rights.KNOWN, answer=ANSWER)
async def read(ask: Ask) -> Response:
    return PlainTextResponse(f"read {ask.request.path_params['number']} for {ask.caller.name}")


@operation("PUT", "/x/{number:int}", summary="Write", rights=Rights.ADMIN, answer=ANSWER)
async def write(ask: Ask) -> Response:
    return PlainTextResponse("written")


@operation("GET", "/open", summary="Whatever", rights=Rights.ANYBODY, answer=ANSWER)
async def whatever(ask: Ask) -> Response:
    return PlainTextResponse("anybody")


class As:
    """The app, for one caller."""

    def __init__(self, app: Starlette, caller: Caller | None) -> None:
        self._app = app
        self._caller = caller

    def identify(self) -> Caller:
        assert self._caller is not None, "nobody may ask who this is"
        return self._caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state: dict[str, Any] = {}
        attach(state, self.identify)
        scope["state"] = state
        await self._app(scope, receive, send)


def calling_as(caller: Caller | None, tmp_path: Path) -> TestClient:
    app = Starlette(routes=routes((read, write, whatever), FakeGateway(tmp_path / "gateway.yaml")))
    return TestClient(As(app, caller), raise_server_exceptions=True)


READER = Caller(name="homelab", client=ClientId("homelab"), is_admin=False)
OPS = Caller(name="ops", client=ClientId("ops"), is_admin=True)


def test_a_client_may_read_and_only_an_admin_may_do_what_is_for_admins(tmp_path: Path) -> None:
    reader = calling_as(READER, tmp_path)

    assert reader.get("/x/7").text == "read 7 for homelab"
    with pytest.raises(ApiError, match=r"^homelab is no admin: .* gateway\.admins") as caught:
        reader.put("/x/7")

    assert caught.value.status == 403
    assert calling_as(OPS, tmp_path).put("/x/7").text == "written"


def test_who_asks_is_not_asked_where_anybody_may(tmp_path: Path) -> None:
    assert calling_as(None, tmp_path).get("/open").text == "anybody"


def test_head_is_get_and_other_methods_are_told_what_there_is(tmp_path: Path) -> None:
    client = calling_as(READER, tmp_path)

    assert client.head("/x/7").status_code == 200
    refused = client.delete("/x/7")
    assert (refused.status_code, set(refused.headers["allow"].split(", "))) == (405, {"GET", "HEAD", "PUT"})


def test_every_route_of_the_api_is_a_declared_operation(tmp_path: Path) -> None:
    """Nothing is served that does not say what it is."""
    app = create_app(FakeGateway(tmp_path / "gateway.yaml"))

    served = {
        (method, getattr(route, "path", "?"))
        for route in app.routes
        for method in getattr(route, "methods", None) or ("?",)
        if method != "HEAD"
    }

    assert served == {(one.method, one.path) for one in OPERATIONS}
    assert all(one.summary and one.answer.description for one in OPERATIONS)


def test_no_two_operations_are_the_same_request() -> None:
    requests = [(one.method, one.path) for one in OPERATIONS]

    assert len(requests) == len(set(requests))
