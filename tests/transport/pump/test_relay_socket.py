"""A socket takes what it is given in order, its end last, whatever state it is in."""

from __future__ import annotations

import errno

import pytest

from tests.support.mux_pair import window_frame
from tests.transport.pump.played import Fake, stream_of
from tests.transport.world import loop_turns

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quiet")]


async def test_addresses_are_those_of_the_socket_where_it_has_any(fake: Fake) -> None:
    relay, _, _ = fake

    assert (relay.source, relay.destination) == (("?", 0), ("::1", 443))


async def test_an_end_waits_for_the_buffer_and_is_said_once(fake: Fake) -> None:
    relay, connection, link = fake
    connection.is_full = True
    link.end.receive(window_frame(stream_of(relay).id, 0))
    relay.data(memoryview(b"last words"))
    relay.fin()
    assert connection.calls == []
    connection.drain()
    assert connection.calls == []  # the standard loop is not done with its own books yet
    await loop_turns(2)

    assert connection.calls == ["write_eof"]


async def test_an_end_that_cannot_be_said_drops_the_socket_behind_the_turn(fake: Fake) -> None:
    relay, connection, _ = fake
    connection.eof_error = OSError(errno.ENOTCONN, "Transport endpoint is not connected")
    relay.fin()
    assert connection.calls == ["write_eof"]
    await loop_turns(2)

    assert connection.calls == ["write_eof", "abort"]
