"""Fixtures for the agent room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.journal import Journal, journal_kept


@pytest.fixture
def journal() -> Iterator[Journal]:
    """The log of the test."""
    with journal_kept() as kept:
        yield kept
