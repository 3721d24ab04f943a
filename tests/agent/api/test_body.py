"""The body of a request, sent over a real unix socket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from agent.api.body import LIMIT, MAX_VALUES, OWN_LIMIT
from tests.support import pki

from .backend import FakeGateway, running
from .serving import calling_tls, on_tls, problem, texts

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("body", "where", "what"),
    [
        (b"", "1:1", "it is empty"),
        (b" \n", "1:1", "it is empty"),
        (b"[\n  {,}]", "2:4", "a key in double quotes is wanted here"),
        (b'[{"ClientId": "a", "ClientId": "b"}]', "1:20", "stands here a second time"),
        (b"[NaN]", "1:2", "NaN is not JSON"),
        (b"[" * 100_000, "1:", "nested"),
        (b"[1" + b"0" * 5_000 + b"]", "1:2", "too many digits"),
    ],
)
async def test_a_body_that_is_not_json_is_told_where(
    http: httpx2.AsyncClient, body: bytes, where: str, what: str
) -> None:
    answer = await http.put("/tunnels", content=body)

    assert answer.status_code == 400
    (text,) = texts(answer)
    assert text.startswith(f"request body:{where}")
    assert what in text


async def test_a_body_that_is_not_utf8_is_refused(http: httpx2.AsyncClient) -> None:
    answer = await http.put("/tunnels", content=b'[{"ClientId": "\xff"}]')

    assert answer.status_code == 400
    assert "0xff" in problem(answer)["detail"]


@pytest.mark.parametrize("said", ["application/x-www-form-urlencoded", "text/plain", "nonsense", "text/json"])
async def test_a_body_that_says_it_is_something_else_is_told_what_to_say(
    http: httpx2.AsyncClient, said: str
) -> None:
    answer = await http.put("/tunnels", content=b"[]", headers={"Content-Type": said})

    assert answer.status_code == 415
    assert f'"{said}"' in problem(answer)["detail"]
    assert '-H "Content-Type: application/json"' in problem(answer)["detail"]
    assert answer.headers["accept"] == "application/json"


@pytest.mark.parametrize(
    "said", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.tidegate+json", None]
)
async def test_json_may_be_called_what_it_is_called_elsewhere(
    http: httpx2.AsyncClient, said: str | None
) -> None:
    headers = {} if said is None else {"Content-Type": said}

    assert (await http.put("/tunnels", content=b"\xef\xbb\xbf[]", headers=headers)).status_code == 200


async def test_a_body_of_a_megabyte_is_read_and_one_byte_more_is_not(http: httpx2.AsyncClient) -> None:
    full = b"[]" + b" " * (LIMIT - 2)

    assert (await http.put("/tunnels", content=full)).status_code == 200
    assert (await http.put("/tunnels", content=full + b" ")).status_code == 413


async def test_a_body_of_unsaid_length_is_counted_while_it_is_read(http: httpx2.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"["
        for _ in range(LIMIT // 65_536):
            yield b" " * 65_536

    answer = await http.put("/tunnels", content=endless())

    assert answer.status_code == 413
    assert problem(answer)["detail"] == "the body is larger than 2 MiB; send less"


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"1," * MAX_VALUES + b"1]",
        b"[" + b"{}," * (MAX_VALUES // 2) + b"{}]",
        b"[" + b"[[]]," * (MAX_VALUES // 3 + 1) + b"[]]",
    ],
    ids=["numbers", "mappings", "lists"],
)
async def test_a_body_of_too_many_values_is_not_even_parsed(http: httpx2.AsyncClient, body: bytes) -> None:
    answer = await http.put("/tunnels", content=body)

    assert answer.status_code == 413
    assert problem(answer)["detail"] == "the body has more than 200,000 values; send less"


async def test_a_client_sends_less_than_an_admin(gateway: FakeGateway) -> None:
    body = b"[]" + b" " * (OWN_LIMIT - 1)
    async with running(gateway), on_tls(gateway) as tls:
        async with calling_tls(tls, pki.client("homelab")) as homelab:
            assert (await homelab.put("/tunnels", content=body[:-1])).status_code == 200
            assert (await homelab.put("/tunnels", content=body)).status_code == 413
            assert (
                await homelab.put("/v1/state", content=b" " * (LIMIT + 1), headers={"If-Match": "*"})
            ).status_code == 413
        async with calling_tls(tls, pki.client("ops")) as ops:
            assert (await ops.put("/tunnels", content=body)).status_code == 200
