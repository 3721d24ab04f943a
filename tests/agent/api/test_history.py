"""The states that were accepted, over HTTP."""

from __future__ import annotations

import httpx2
import pytest

from schemas.history_report import GenerationReport, HistoryReport
from tests.support import pki

from .backend import BLOG, GATEWAY, FakeGateway, running
from .serving import calling_tls, on_tls, texts

pytestmark = pytest.mark.anyio

SHOP = """
      - {name: shop, listen: "0.0.0.0:8443", client: homelab, service: web}
"""


async def test_every_accepted_state_is_listed_and_has_its_files(
    http: httpx2.AsyncClient, gateway: FakeGateway
) -> None:
    gateway.write(GATEWAY, BLOG.rstrip(" ") + SHOP)
    await gateway.turn()

    answer = await http.get("/v1/history")
    report = HistoryReport.model_validate_json(answer.content)
    assert [(one.generation, one.changed, one.in_force) for one in report.generations] == [
        (2, "+1 tunnel", True),
        (1, "the first", False),
    ]
    answer = await http.get("/v1/history/1")
    generation = GenerationReport.model_validate_json(answer.content)
    assert generation.digest == report.generations[1].digest
    assert [(file.name, "shop" in file.text) for file in generation.files] == [("gateway.yaml", False)]


async def test_a_generation_that_is_not_kept_is_not_found(http: httpx2.AsyncClient) -> None:
    for text in ("x", "-1", "9" * 5000):
        assert (await http.get(f"/v1/history/{text}")).status_code == 404
    answer = await http.get("/v1/history/7")

    assert answer.status_code == 404
    assert texts(answer) == ["generation 7 is not kept: see which are with tidegate history"]


async def test_the_files_are_for_admins_because_of_inline_keys(gateway: FakeGateway) -> None:
    async with (
        running(gateway),
        on_tls(gateway) as port,
        calling_tls(port, pki.client("homelab")) as client,
        calling_tls(port, pki.client("ops")) as ops,
    ):
        assert (await client.get("/v1/history")).status_code == 200
        assert (await client.get("/v1/history/1")).status_code == 403
        assert (await ops.get("/v1/history/1")).status_code == 200


async def test_a_directory_that_cannot_be_read_is_told(
    http: httpx2.AsyncClient, gateway: FakeGateway
) -> None:
    gateway.memory.history.directory /= "00000001.json"
    answer = await http.get("/v1/history")

    assert answer.status_code == 500
    assert "cannot be read: Not a directory" in texts(answer)[0]
