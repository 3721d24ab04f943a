"""Fixtures for the byte pump: relays of which the test plays both ends."""

from __future__ import annotations

import pytest

from tests.support.mux_pair import window_frame
from tests.transport.pump.played import Fake, connect, stream_of
from tests.transport.world import RecordingOwner
from transport.pump.relay import Relay
from transport.wire.frames import ACK


@pytest.fixture
async def fake() -> Fake:
    """A relay that is joined, its socket and its link."""
    relay = Relay(RecordingOwner())
    connection, link = connect(relay)
    relay.open(link.as_link(), b"header")
    link.end.written()
    link.end.receive(window_frame(stream_of(relay).id, flags=ACK))
    connection.calls.clear()
    return relay, connection, link
