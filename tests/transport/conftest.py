"""Fixtures for the shell of the transport room: it runs on two loops, and on two TLS engines."""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from transport.pump import sockets

from .world import Listening, World, world


@pytest.fixture(params=["aiofastnet", "the loop's own"])
def tls_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test of a link runs with aiofastnet and with what is used where there is no wheel of it."""
    if request.param == "aiofastnet":
        assert sockets._AIOFASTNET is not None
    else:
        monkeypatch.setattr(sockets, "_AIOFASTNET", None)
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def small_garbage() -> Iterator[None]:
    """Makes collecting after each test cheap: all that was imported is left out of it."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def quiet(small_garbage: None, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fails a test in which the loop had anything to complain of.

    Exceptions in callbacks are raised by anyio's test runner; what is only logged is found here:
    writes to a dead socket, exceptions of tasks that nobody looked at, transports left open.
    """
    yield
    gc.collect()
    complaints = [
        record.getMessage()
        for when in ("setup", "call")
        for record in caplog.get_records(when)
        if record.levelno >= logging.WARNING
    ]
    assert complaints == []


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    """A socket to which links connect."""
    made = Listening()
    yield made
    made.close()


@pytest.fixture
async def site(tls_engine: str, quiet: None) -> AsyncIterator[World]:
    """A gateway and a client, with a public port and a service."""
    async with world() as made:
        yield made
