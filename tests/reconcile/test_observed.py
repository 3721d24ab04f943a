"""The words for what runs."""

from __future__ import annotations

import pytest

from reconcile.observed import IN_FLIGHT, Phase


@pytest.mark.parametrize("phase", Phase)
def test_a_resource_is_either_in_flight_or_settled(phase: Phase) -> None:
    settled = {Phase.OPEN, Phase.FAILED}

    assert (phase in IN_FLIGHT) != (phase in settled)
