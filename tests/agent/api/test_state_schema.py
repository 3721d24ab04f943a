"""Every state, as a document, is one that its schema takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from agent.api.state_schema import state_schema
from schemas.parse import parse_state
from schemas.render import Inline, render_state
from schemas.text import Syntax, read_document, syntax_for

VALID = sorted((Path(__file__).parents[2] / "states" / "valid").iterdir())
SCHEMA = Draft202012Validator(state_schema())
PEM = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize("file", VALID, ids=lambda file: file.name)
def test_every_state_of_ours_is_taken(file: Path) -> None:
    document = read_document(
        file.read_bytes(), name=file.name, directory="/etc", syntax=syntax_for(file.name)
    )

    SCHEMA.validate(render_state(parse_state([document]), inline=Inline.HIDDEN))


def test_what_only_a_document_has_is_taken_too() -> None:
    tls = {"cert": "gw.crt", "key": PEM, "client_ca": "ca.crt"}
    mine = {"name": "a", "listen": ":1", "client": "homelab", "service": "web", "declared_by": "unix socket"}
    data = json.dumps({"tidegate": 1, "gateway": {"tls": tls}, "tunnels": [mine]}).encode()
    state = parse_state([read_document(data, name="x", directory="", syntax=Syntax.JSON, owned=True)])

    document = render_state(state, inline=Inline.HIDDEN)

    SCHEMA.validate(document)
    assert not SCHEMA.is_valid({**document, "tunnels": [{**mine, "declaredby": "me"}]})
    assert not SCHEMA.is_valid({"tidegate": 1})


def test_the_schema_of_the_files_is_as_it_was() -> None:
    assert state_schema() == state_schema()
