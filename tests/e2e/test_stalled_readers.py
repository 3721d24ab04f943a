"""Whoever does not read stops who talks to it, costs a window, holds up nobody else, and misses nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from tests.support.holding import assert_nothing_broke, grows_by_less_than
from tests.support.services import accept, echo, listening, service, target
from tests.support.site import Site, connect, site
from tests.support.talking import Talker, hash_of_the_rest, wait_stuck

MIB = 1 << 20
STALLED = 20
REQUESTS = 200
WINDOW = 262_144
# Each of the stalled costs a window, in what is copied for the socket and perhaps once more on its way.
# The rest is what a process needs anyhow for its first visitors.
BOUND = 2 * STALLED * WINDOW + 12 * MIB


class Meeting:
    """A port that leads to the test itself, and one for everybody else, through the same session."""

    def __init__(self, place: Site, listener: socket.socket, echoing: str) -> None:
        self._listener = listener
        self._stalled, self._others = place.listen(), place.listen()
        tunnels = [
            {"name": "stalled", "listen": self._stalled, "service": "by-hand"},
            {"name": "others", "listen": self._others, "service": "echo"},
        ]
        self.gateway, self.client = place.start_both(
            [{**tunnel, "client": "homelab"} for tunnel in tunnels],
            {"by-hand": target(listener), "echo": echoing},
        )

    def meet(self) -> tuple[socket.socket, socket.socket]:
        visitor = connect(self._stalled)
        return visitor, accept(self._listener)

    def serve_the_others(self) -> None:
        """Requests on one connection, and as many on a connection each."""
        with connect(self._others) as visitor:
            for number in range(REQUESTS):
                ask(visitor, number)
        for number in range(REQUESTS // 4):
            with connect(self._others) as visitor:
                ask(visitor, number)


def ask(visitor: socket.socket, number: int) -> None:
    """A small request and its answer; that it does not come fails the test."""
    said = b"request %6d" % number * 50
    visitor.sendall(said)
    heard = bytearray()
    while len(heard) < len(said):
        chunk = visitor.recv(len(said) - len(heard))
        assert chunk
        heard += chunk
    assert heard == said


@pytest.fixture(scope="module")
def meeting(tmp_path_factory: pytest.TempPathFactory, loop: Sequence[str]) -> Iterator[Meeting]:
    directory = tmp_path_factory.mktemp("stalled")
    with listening() as listener, service(echo) as echoing, site(directory, options=loop) as place:
        made = Meeting(place, listener, echoing)
        made.serve_the_others()  # what the first visitors cost is no part of what is measured
        yield made
        assert_nothing_broke(made.gateway, made.client)


@pytest.mark.parametrize("silent", ["service", "visitor"])
def test_who_never_reads_costs_a_window_and_nobody_else_notices(meeting: Meeting, silent: str) -> None:
    """Twenty at once, each with somebody who would send for ever. In the end they read, and all is there."""
    with ExitStack() as everyone:
        with grows_by_less_than(BOUND, meeting.gateway, meeting.client):
            stalled: list[tuple[socket.socket, Talker]] = []
            for _ in range(STALLED):
                visitor, behind = (everyone.enter_context(end) for end in meeting.meet())
                talker, listener = (visitor, behind) if silent == "service" else (behind, visitor)
                stalled.append((listener, Talker(talker)))
            wait_stuck([talk for _, talk in stalled])
            meeting.serve_the_others()
        for listener, talk in stalled:
            talk.stop()
            heard = hash_of_the_rest(listener)
            assert heard == talk.finish()
            assert talk.error is None
            assert heard[0] > WINDOW
