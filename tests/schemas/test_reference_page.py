"""The reference of a state file, as a page for people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from schemas.json_schema import schema_of
from schemas.reference_page import reference_page
from schemas.roles import Role
from tests.support.source import ROOT


@pytest.mark.parametrize("role", Role)
def test_the_page_that_is_shipped_is_the_one_that_is_printed(role: Role) -> None:
    """After a change: tidegate schema ROLE --markdown > schemas/ROLE.md"""
    assert (ROOT / "schemas" / f"{role.value}.md").read_text() == reference_page(role)


def keys(schema: dict[str, Any]) -> Iterator[str]:
    for name, written in schema.get("items", schema).get("properties", {}).items():
        yield name
        yield from keys(written)


@pytest.mark.parametrize("role", Role)
def test_every_key_has_its_line(role: Role) -> None:
    explained = re.findall(r"^- `(\w+)`", reference_page(role), re.MULTILINE)

    assert sorted(explained) == sorted(keys(schema_of(role)))
