"""Fixtures for the tests of whole programs: the event loops on which agents run."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.support.site import STOCK_LOOP


@pytest.fixture(scope="module", params=[(), (STOCK_LOOP,)], ids=["uvloop", "stock-loop"])
def loop(request: pytest.FixtureRequest) -> Sequence[str]:
    """The options of agents, for each event loop."""
    options: Sequence[str] = request.param
    return options
