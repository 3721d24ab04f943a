"""``GET /v1/openapi.json``: everything that can be asked, described for programs.

Rule: nothing is described here. Each operation says what it is at its handler, and the
models what they hold; this puts the two together in the words of OpenAPI 3.1, whose
schemas are JSON Schema 2020-12. It is done when somebody asks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Literal, TypeAlias

from pydantic import TypeAdapter
from starlette.responses import Response

from agent.version import VERSION

from .operation import JSON, Ask, Content, Later, Operation, Parameter, Rights, Schema, operation
from .problems import PROBLEM_JSON
from .working import work

_Document: TypeAlias = dict[str, Any]
_Mode: TypeAlias = Literal["validation", "serialization"]  # as pydantic names what is taken and what is told

_REFERENCE: Final = "#/components/schemas/{model}"
_CERTIFICATE: Final = "clientCertificate"
_PARAMETER: Final = re.compile(r"\{(\w+)(?::\w+)?\}")  # as Starlette writes it

#: The body of every error, RFC 9457, as ``problems`` writes it.
_PROBLEM: Final[Schema] = {
    "type": "object",
    "description": "Everything that is wrong with a request.",
    "properties": {
        "type": {"const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "In one line."},
        "problems": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "text": {"type": "string", "description": "The whole problem in one line."},
                    "message": {"type": "string"},
                    "pointer": {
                        "type": ["string", "null"],
                        "description": "The part of the body that is to blame, RFC 6901.",
                    },
                    "file": {"type": ["string", "null"]},
                    "line": {"type": ["integer", "null"]},
                    "col": {"type": ["integer", "null"]},
                },
                "required": ["text", "message", "pointer", "file", "line", "col"],
            },
        },
    },
    "required": ["type", "title", "status", "detail", "problems"],
}

#: What anything can be answered with, beside what an operation says of itself.
_ANY_ERROR: Final = (
    "What is wrong: 403 for whoever may not ask, 421 for whoever must connect again, 500 for a defect."
)


@operation(
    "GET",
    "/v1/openapi.json",
    summary="This description",
    rights=Rights.KNOWN,
    answer=Content(description="An OpenAPI 3.1 document.", of={"type": "object"}),
)
async def describe_api(ask: Ask) -> Response:
    document = await work(describe, ask.operations)
    return Response(json.dumps(document, ensure_ascii=False), media_type=JSON)


def describe(operations: Sequence[Operation]) -> _Document:
    """The OpenAPI document of these operations."""
    schemas = _Schemas(operations)
    paths: dict[str, _Document] = {}
    for one in operations:
        path = paths.setdefault(_PARAMETER.sub(r"{\1}", one.path), {})
        path[one.method.lower()] = _operation(one, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tidegate",
            "version": VERSION,
            "summary": "The management API of an agent",
            "description": "On the unix socket of the agent, and on the management addresses of a gateway "
            "over TLS with a client certificate. What is not a success is a problem, RFC 9457.",
        },
        "servers": [{"url": "/", "description": "The agent that is asked."}],
        "security": [{_CERTIFICATE: []}, {}],
        "paths": paths,
        "components": {
            "schemas": {"Problem": _PROBLEM, **schemas.definitions},
            "securitySchemes": {
                _CERTIFICATE: {
                    "type": "mutualTLS",
                    "description": "A certificate of the gateway's client CA; none on the unix socket.",
                }
            },
        },
    }


def _operation(one: Operation, schemas: _Schemas) -> _Document:
    described: _Document = {
        "operationId": "_".join((one.method.lower(), *re.findall(r"\w+", one.path.partition(":")[0]))),
        "summary": one.summary,
        "description": f"{one.description} For {one.rights.value}.".strip(),
        "responses": dict(_responses(one, schemas)),
    }
    if one.parameters:
        described["parameters"] = [_parameter(parameter) for parameter in one.parameters]
    if one.takes:
        described["requestBody"] = {
            "description": " Or: ".join(content.description for content in one.takes),
            "required": True,
            "content": {
                content.media_type: {"schema": schemas.of(content, "validation")} for content in one.takes
            },
        }
    return described


def _responses(one: Operation, schemas: _Schemas) -> Iterator[tuple[str, _Document]]:
    success: _Document = {
        "description": one.answer.description,
        "content": {one.answer.media_type: {"schema": schemas.of(one.answer, "serialization")}},
    }
    if one.answer.headers:
        success["headers"] = {
            name: {"description": description, "schema": {"type": "string"}}
            for name, description in one.answer.headers.items()
        }
    yield str(HTTPStatus.OK.value), success
    for status, description in one.errors.items():
        is_error = status >= HTTPStatus.BAD_REQUEST
        yield str(status.value), _problem(description) if is_error else {"description": description}
    yield "default", _problem(_ANY_ERROR)


def _problem(description: str) -> _Document:
    reference = {"$ref": _REFERENCE.format(model="Problem")}
    return {"description": description, "content": {PROBLEM_JSON: {"schema": reference}}}


def _parameter(parameter: Parameter) -> _Document:
    return {
        "name": parameter.name,
        "in": parameter.where.value,
        "description": parameter.description,
        "required": parameter.required,
        "schema": dict(parameter.schema),
    }


class _Schemas:
    """The schemas of all bodies; those of models are named, so that each is there once."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        asked: dict[tuple[int, _Mode], TypeAdapter[Any]] = {}
        self._made: dict[int, Schema] = {}
        made: _Document = {}
        for one in operations:
            for content, mode in (*((taken, _TAKEN) for taken in one.takes), (one.answer, _TOLD)):
                if isinstance(content.of, Later):
                    if id(content.of) not in self._made:
                        self._made[id(content.of)] = _named(content.of.make(), made)
                elif not isinstance(content.of, Mapping):
                    asked.setdefault((id(content.of), mode), TypeAdapter(content.of))
        found, shared = TypeAdapter.json_schemas(
            [(key, mode, adapter) for (key, mode), adapter in asked.items()], ref_template=_REFERENCE
        )
        self._found = found
        self.definitions: Mapping[str, Any] = {**made, **shared.get("$defs", {})}

    def of(self, content: Content, mode: _Mode) -> Schema:
        if isinstance(content.of, Later):
            return self._made[id(content.of)]
        if isinstance(content.of, Mapping):
            return content.of
        return self._found[id(content.of), mode]


def _named(schema: Schema, definitions: _Document) -> Schema:
    """A reference to the schema, which is put among the definitions with all that it refers to."""
    title = schema["title"]

    def moved(part: Any) -> Any:
        match part:
            case {"$ref": str() as reference, **rest}:
                return {**rest, "$ref": _REFERENCE.format(model=f"{title}.{reference.rpartition('/')[2]}")}
            case dict():
                return {key: moved(value) for key, value in part.items()}
            case list():
                return [moved(value) for value in part]
            case _:
                return part

    whole = dict(schema)
    for name, definition in whole.pop("$defs", {}).items():
        definitions[f"{title}.{name}"] = moved(definition)
    definitions[title] = moved(whole)
    return {"$ref": _REFERENCE.format(model=title)}


_TAKEN: Final[_Mode] = "validation"
_TOLD: Final[_Mode] = "serialization"

OPERATIONS: Final[tuple[Operation, ...]] = (describe_api,)
