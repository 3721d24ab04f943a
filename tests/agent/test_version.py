"""The version this program gives for its own."""

from __future__ import annotations

import tomllib

from agent.version import SOFTWARE, VERSION
from tests.support.source import ROOT


def test_the_version_is_that_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["version"] == VERSION
    assert f"tidegate/{VERSION}" == SOFTWARE
