"""The description of the API: a valid one, of all of it, and true."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from agent.api.app import OPERATIONS
from agent.api.openapi import describe
from agent.api.operation import JSON, Rights
from schemas.names import ClientId

from .backend import FakeGateway, entry

DOCUMENT = describe(OPERATIONS)


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of the document, as one that stands alone."""
    return {**schema, "components": DOCUMENT["components"]}


def test_it_is_a_valid_openapi_3_1_document() -> None:
    errors = [str(error) for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()]

    assert errors == []


def test_it_can_be_written_as_json_and_is_the_same_each_time() -> None:
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT
    assert describe(OPERATIONS) == DOCUMENT


def test_every_schema_in_it_is_one_of_json_schema_2020_12() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_operation_is_in_it_with_who_may_and_what_comes_of_it() -> None:
    described = {
        (method.upper(), path): one
        for path, methods in DOCUMENT["paths"].items()
        for method, one in methods.items()
    }

    assert set(described) == {(one.method, one.path.replace(":int", "")) for one in OPERATIONS}
    ids = [one["operationId"] for one in described.values()]
    assert len(ids) == len(set(ids))
    for one in OPERATIONS:
        told = described[one.method, one.path.replace(":int", "")]
        assert told["summary"] == one.summary
        assert one.rights.value in told["description"]
        assert set(told["responses"]) == {"200", "default", *(str(status.value) for status in one.errors)}
        named = {parameter["name"] for parameter in told.get("parameters", ()) if parameter["in"] == "path"}
        assert all(f"{{{name}" in one.path for name in named)
        assert one.path.count("{") == len(named)


def test_whatever_changes_something_is_not_for_anybody() -> None:
    assert [one.path for one in OPERATIONS if one.method != "GET" and one.rights is Rights.ANYBODY] == []


@pytest.mark.anyio
async def test_it_is_served(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/v1/openapi.json")

    assert (answer.status_code, answer.headers["content-type"]) == (200, JSON)
    assert answer.json() == DOCUMENT


@pytest.mark.anyio
async def test_what_is_answered_is_what_is_described(gateway: FakeGateway, http: httpx2.AsyncClient) -> None:
    """Of everything that can be read without knowing more."""
    gateway.states = {ClientId("homelab"): ("ClientConnected", "ClientUnknown")}
    assert (await http.put("/tunnels", json=[entry("homelab", 25)])).status_code == 200
    queries = {"/v1/explain": {"listen": ":443"}}
    asked = [
        one
        for one in OPERATIONS
        if one.method == "GET" and one.answer.media_type == JSON and "{" not in one.path
    ]
    assert len(asked) > 5
    for one in asked:
        answer = await http.get(one.path, params=queries.get(one.path))
        told = DOCUMENT["paths"][one.path]["get"]["responses"]
        assert answer.status_code == 200, answer.text
        Draft202012Validator(resolved(told["200"]["content"][JSON]["schema"])).validate(answer.json())


@pytest.mark.anyio
async def test_what_is_wrong_is_told_as_it_is_described(http: httpx2.AsyncClient) -> None:
    schema = resolved(DOCUMENT["components"]["schemas"]["Problem"])
    for answer in (
        await http.put("/tunnels", json=[entry("homelab", 0), {}]),
        await http.put("/v1/state", json={}),
        await http.get("/v1/explain"),
        await http.delete("/tunnels"),
        await http.get("/nothing"),
    ):
        assert answer.headers["content-type"] == "application/problem+json"
        Draft202012Validator(schema).validate(answer.json())
