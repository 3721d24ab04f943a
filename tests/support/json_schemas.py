"""The JSON Schemas that are shipped, as somebody else's software understands them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator

from schemas.roles import Role

from .source import ROOT


def schema_file(role: Role) -> Path:
    return ROOT / "schemas" / f"{role.value}.schema.json"


@cache
def validator(role: Role) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema_file(role).read_text(encoding="utf-8")))


def refusals(role: Role, value: object) -> list[str]:
    """Why the schema does not take a state file with this value; nothing if it does."""
    return [f"{error.json_path}: {error.message}" for error in validator(role).iter_errors(value)]
