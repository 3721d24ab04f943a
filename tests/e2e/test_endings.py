"""How a connection ends on one side is how it ends on the other: each direction alone, or by a reset."""

from __future__ import annotations

import hashlib
import random
import socket
from collections.abc import Iterator, Sequence

import pytest

from tests.support.services import accept, hash_at_the_end, listening, reset, service, target
from tests.support.site import Agent, Site, connect, read_all, site

LETTER = random.Random(1).randbytes(5 << 20)  # more than any window


class Ends:
    """A visitor and a service, both in the hands of the test."""

    def __init__(self, place: Site, listener: socket.socket, hashing: str) -> None:
        self._listener = listener
        self._listen = place.listen()
        self.hashing = place.listen()
        self.named = place.listen()
        tunnels = [
            {"name": "by-hand", "listen": self._listen, "service": "by-hand"},
            {"name": "hashing", "listen": self.hashing, "service": "hashing"},
            {"name": "named", "listen": self.named, "service": "hashing", "hostname": "*.example.com"},
        ]
        self.gateway, self.client = place.start_both(
            [{**tunnel, "client": "homelab"} for tunnel in tunnels],
            {"by-hand": target(listener), "hashing": hashing},
        )

    def meet(self) -> tuple[socket.socket, socket.socket]:
        """A visitor, and the service's end of its connection."""
        visitor = connect(self._listen)
        return visitor, accept(self._listener)


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory, loop: Sequence[str]) -> Iterator[Ends]:
    directory = tmp_path_factory.mktemp("ends")
    with listening() as listener, service(hash_at_the_end) as hashing, site(directory, options=loop) as place:
        yield Ends(place, listener, hashing)


def left(agent: Agent, visitor: socket.socket) -> dict[str, object]:
    """The gateway's one line about a visitor."""
    return agent.wait_for("visitor_left", visitor="{}:{}".format(*visitor.getsockname()))


def send_for_ever(visitor: socket.socket) -> None:
    while True:
        visitor.sendall(LETTER)


def test_an_upload_is_answered_after_the_visitors_half_close(ends: Ends) -> None:
    """The service reads to the end and only then answers; the way back is open all the while."""
    with connect(ends.hashing) as visitor:
        visitor.sendall(LETTER)
        visitor.shutdown(socket.SHUT_WR)
        assert read_all(visitor).decode() == hashlib.sha256(LETTER).hexdigest()
        line = left(ends.gateway, visitor)
    assert (line["end"], line["bytes_in"], line["bytes_out"]) == ("done", len(LETTER), 64)


def test_a_half_close_right_behind_a_request_that_is_peeked_at_is_passed_on(ends: Ends) -> None:
    """The end may come before the route is decided."""
    request = b"GET / HTTP/1.1\r\nHost: any.example.com\r\n\r\n"
    with connect(ends.named) as visitor:
        visitor.sendall(request)
        visitor.shutdown(socket.SHUT_WR)
        assert read_all(visitor).decode() == hashlib.sha256(request).hexdigest()


def test_a_service_may_end_first_and_go_on_listening(ends: Ends) -> None:
    """The visitor reads the end, and what it sends afterwards arrives in full."""
    visitor, service_end = ends.meet()
    with visitor, service_end:
        service_end.sendall(b"that is all")
        service_end.shutdown(socket.SHUT_WR)
        assert read_all(visitor) == b"that is all"
        visitor.sendall(LETTER[: 200 << 10])  # less than a window: nobody reads it meanwhile
        visitor.shutdown(socket.SHUT_WR)
        assert read_all(service_end) == LETTER[: 200 << 10]
        assert left(ends.gateway, visitor)["end"] == "done"


def test_a_visitors_reset_reaches_the_service_as_a_reset(ends: Ends) -> None:
    """An end would tell the service that it has heard everything."""
    visitor, service_end = ends.meet()
    with service_end:
        visitor.sendall(b"I was about to say")
        assert service_end.recv(1024) == b"I was about to say"
        reset(visitor)
        with pytest.raises(ConnectionResetError):
            service_end.recv(1)


def test_a_services_reset_reaches_the_visitor_as_a_reset(ends: Ends) -> None:
    """An answer that breaks off must not look complete."""
    visitor, service_end = ends.meet()
    with visitor:
        service_end.sendall(b"half an answer")
        assert visitor.recv(1024) == b"half an answer"
        reset(service_end)
        with pytest.raises(ConnectionResetError):
            visitor.recv(1)
        assert left(ends.gateway, visitor)["end"] == "stream_reset"


def test_a_service_that_closes_while_the_visitor_still_sends_does_not_hold_it_up(ends: Ends) -> None:
    """What it said before arrives; then the visitor learns that nobody listens any more."""
    visitor, service_end = ends.meet()
    with visitor:
        service_end.sendall(b"enough")
        service_end.close()
        assert visitor.recv(1024) == b"enough"
        with pytest.raises(ConnectionError):
            send_for_ever(visitor)


def test_a_client_that_is_killed_resets_its_visitors(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A visitor in the middle of an answer must not take what it has for all of it."""
    with listening() as listener, site(tmp_path_factory.mktemp("killed")) as place:
        doomed = Ends(place, listener, target(listener))
        visitor, service_end = doomed.meet()
        with visitor, service_end:
            service_end.sendall(b"half an answer")
            assert visitor.recv(1024) == b"half an answer"
            doomed.client.kill()
            with pytest.raises(ConnectionResetError):
                visitor.recv(1)
