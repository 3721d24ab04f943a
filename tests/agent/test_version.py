"""The version this program gives for its own."""

from __future__ import annotations

from importlib.metadata import version

from agent.version import SOFTWARE, VERSION


def test_the_version_is_that_of_the_distribution() -> None:
    assert version("tidegate") == VERSION
    assert f"tidegate/{VERSION}" == SOFTWARE
