"""The last byte before an orderly end always arrives, at any size and either way; a reset is never an end."""

from __future__ import annotations

import random
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from tests.support.holding import assert_nothing_broke
from tests.support.services import accept, listening, reset, target
from tests.support.site import Agent, Site, connect, read_all, site
from tests.support.talking import Talker, hash_of_the_rest, wait_stuck

WINDOW = 262_144
SIZES = [0, 1, 65_535, 65_536, 65_537, WINDOW - 1, WINDOW, WINDOW + 1, 16 << 20]
LETTER = random.Random(7).randbytes(max(SIZES))

Pair = tuple[socket.socket, socket.socket]


class Meeting:
    """Where a visitor and a service meet, both in the hands of the test."""

    def __init__(self, place: Site, listener: socket.socket) -> None:
        self._listener = listener
        self._listen = place.listen()
        tunnel = {"name": "t", "listen": self._listen, "client": "homelab", "service": "by-hand"}
        # One of them stands still in some tests, for as long as these take, and is not to be given up.
        self.gateway, self.client = place.start_both(
            [tunnel], {"by-hand": target(listener)}, ping_timeout="10m"
        )

    def meet(self) -> Pair:
        visitor = connect(self._listen)
        return visitor, accept(self._listener)

    def visit(self) -> socket.socket:
        return connect(self._listen)

    @property
    def open_streams(self) -> int:
        (tunnel,) = self.gateway.status()["tunnels"]
        number: int = tunnel["traffic"]["open"]
        return number

    def assert_serves(self) -> None:
        """A newcomer is served. Those who left may be accepted in front of it."""
        with self.visit() as visitor:
            visitor.sendall(b"and another one")
            while True:
                with accept(self._listener) as service, suppress(ConnectionResetError):
                    if service.recv(100) == b"and another one":
                        return


@pytest.fixture(scope="module")
def meeting(tmp_path_factory: pytest.TempPathFactory, loop: Sequence[str]) -> Iterator[Meeting]:
    with listening() as listener, site(tmp_path_factory.mktemp("last"), options=loop) as place:
        made = Meeting(place, listener)
        yield made
        assert_nothing_broke(made.gateway, made.client)


@pytest.fixture(params=["visitor", "service"])
def talks_first(request: pytest.FixtureRequest) -> Callable[[Pair], Pair]:
    """Puts the two into the order of the roles they play in a test: each plays both."""
    return (lambda pair: pair) if request.param == "visitor" else (lambda pair: (pair[1], pair[0]))


@contextmanager
def standing_still(agent: Agent) -> Iterator[None]:
    """The process does nothing for the length of the block; the system goes on for it."""
    agent.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        agent.process.send_signal(signal.SIGCONT)


def left(agent: Agent, event: str, visitor: str, *, after: int = 0) -> dict[str, object]:
    return agent.wait_for(event, visitor=visitor, after=after)


@pytest.mark.parametrize("ends", ["close", "shutdown"])
@pytest.mark.parametrize("size", SIZES)
def test_all_that_was_said_before_the_end_arrives(
    meeting: Meeting, talks_first: Callable[[Pair], Pair], size: int, ends: str
) -> None:
    """Whoever says it may be gone for good before it has arrived."""
    talker, listener = talks_first(meeting.meet())
    with talker, listener:
        said = Said(talker, size, close=ends == "close")
        assert read_all(listener) == LETTER[:size]
        said.wait()
        if ends == "shutdown":
            listener.sendall(b"understood")
            listener.shutdown(socket.SHUT_WR)
            assert read_all(talker) == b"understood"


class Said:
    """Says the first bytes of the letter and ends, on a thread, since they may not fit anywhere at once."""

    def __init__(self, talker: socket.socket, size: int, *, close: bool) -> None:
        def say() -> None:
            talker.sendall(LETTER[:size])
            if close:
                talker.close()
            else:
                talker.shutdown(socket.SHUT_WR)

        self._thread = threading.Thread(target=say, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        self._thread.join(40)
        assert not self._thread.is_alive()


def test_the_other_direction_goes_on_for_long_behind_an_end(
    meeting: Meeting, talks_first: Callable[[Pair], Pair]
) -> None:
    """An end right at the beginning, before any byte, and then much the other way."""
    talker, listener = talks_first(meeting.meet())
    with talker, listener:
        listener.shutdown(socket.SHUT_WR)
        assert talker.recv(1) == b""
        talk = Talker(talker)
        assert listener.recv(1 << 20, socket.MSG_PEEK)
        received = 0
        while talk.sent < 8 << 20:  # it cannot be sent unless it is read
            received += len(listener.recv(1 << 20))
        assert received
        talk.stop()
        rest, _ = hash_of_the_rest(listener)
        assert talk.finish()[0] == received + rest
        assert talk.error is None


def test_both_may_end_at_the_same_moment_with_data_on_its_way(meeting: Meeting) -> None:
    for _ in range(30):
        visitor, service = meeting.meet()
        with visitor, service:
            for one in (visitor, service):
                one.sendall(LETTER[:100_000])
            for one in (visitor, service):
                one.shutdown(socket.SHUT_WR)
            assert read_all(visitor) == read_all(service) == LETTER[:100_000]


def test_both_may_end_before_either_has_said_anything(meeting: Meeting) -> None:
    visitor, service = meeting.meet()
    with visitor, service:
        own = "{}:{}".format(*visitor.getsockname())
        for one in (visitor, service):
            one.shutdown(socket.SHUT_WR)
        assert (visitor.recv(1), service.recv(1)) == (b"", b"")
        line = left(meeting.gateway, "visitor_left", own)
        assert (line["end"], line["bytes_in"], line["bytes_out"]) == ("done", 0, 0)


# Resets


def test_a_reset_of_whoever_talks_reaches_a_listener_behind_what_it_had_not_read(
    meeting: Meeting, talks_first: Callable[[Pair], Pair]
) -> None:
    """Everything on the way is full when it happens. What the listener then reads is no whole message."""
    talker, listener = talks_first(meeting.meet())
    with talker, listener:
        talk = Talker(talker)
        wait_stuck([talk])
        reset(talker)
        with pytest.raises(ConnectionResetError):
            hash_of_the_rest(listener)


def test_a_reset_of_whoever_does_not_listen_reaches_the_talker(
    meeting: Meeting, talks_first: Callable[[Pair], Pair]
) -> None:
    """It learns of it while it waits to send more, whatever is queued."""
    talker, listener = talks_first(meeting.meet())
    with talker, listener:
        talk = Talker(talker)
        wait_stuck([talk])
        reset(listener)
        talk.finish()
        assert isinstance(talk.error, ConnectionError)


def test_a_reset_behind_a_half_close_reaches_the_other_side(
    meeting: Meeting, talks_first: Callable[[Pair], Pair]
) -> None:
    talker, listener = talks_first(meeting.meet())
    with talker, listener:
        talker.shutdown(socket.SHUT_WR)
        assert listener.recv(1) == b""
        talk = Talker(listener)
        wait_stuck([talk])
        reset(talker)
        talk.finish()
        assert isinstance(talk.error, ConnectionError)


def test_visitors_that_reset_while_their_stream_opens_leave_nothing_behind(meeting: Meeting) -> None:
    """The client stands still meanwhile, so that none of them can have been accepted."""
    while meeting.open_streams:  # of those who left in the test before
        pass
    mark = meeting.gateway.mark  # some of these ports may have been an earlier visitor's
    with standing_still(meeting.client):
        visitors = [meeting.visit() for _ in range(50)]
        names = ["{}:{}".format(*visitor.getsockname()) for visitor in visitors]
        for size, visitor in enumerate(visitors):
            visitor.sendall(LETTER[: size * 20])  # little, so that they are all read
        while meeting.open_streams < len(visitors):
            pass
        for visitor in visitors:
            reset(visitor)
        for name in names:
            line = left(meeting.gateway, "visitor_left", name, after=mark)
            assert (line["end"], line["bytes_out"]) == ("socket_lost", 0)
        assert meeting.open_streams == 0
    meeting.assert_serves()


def test_visitors_that_are_gone_before_they_are_accepted_bother_no_client(meeting: Meeting) -> None:
    """The system has connected them; when the gateway asks who they are, they are nobody any more."""
    mark, gone = meeting.gateway.mark, {"?:0"}
    with standing_still(meeting.gateway):
        for _ in range(10):
            visitor = meeting.visit()
            gone.add("{}:{}".format(*visitor.getsockname()))
            visitor.sendall(b"hello?")
            reset(visitor)
    lines: list[dict[str, Any]] = []
    while len(lines) < 10:
        meeting.assert_serves()
        lines = [line for line in meeting.gateway.lines[mark:] if line.get("visitor") in gone]
    assert {line["client"] for line in lines if line["visitor"] == "?:0"} <= {None}
