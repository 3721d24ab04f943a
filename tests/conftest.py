"""For every test: the event loops on which Tidegate runs, and no deadline that a busy machine would miss."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
    ],
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Each asynchronous test runs on the standard event loop and on uvloop."""
    backend: tuple[str, dict[str, Any]] = request.param
    return backend
