"""The visitors whose memory is measured, and the service that they visit."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator

import pytest

from tests.support.services import accept, listening, read_until, target
from tests.support.site import connect

from .memory import echo_service, idle_visitors, possible_visitors, stalled_visitors


@pytest.fixture
def descriptors() -> Iterator[tuple[int, int]]:
    """The limits of this process, which are as they were at the end."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield limits
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_the_service_says_everything_again_to_each_visitor() -> None:
    with echo_service() as address, connect(address) as one, connect(address) as other:
        for visitor, words in ((one, b"one"), (other, b"other")):
            visitor.sendall(words)
            assert read_until(visitor, words) == words


def test_a_visitor_that_leaves_does_not_disturb_the_others() -> None:
    with echo_service() as address, connect(address) as stays:
        with connect(address) as leaves:
            leaves.sendall(b"bye")
        stays.sendall(b"still here")

        assert read_until(stays, b"here") == b"still here"


def test_idle_visitors_have_spoken_and_been_answered() -> None:
    with echo_service() as address, idle_visitors(address, 150):
        pass  # each has read its own words again, or this had raised


def test_idle_visitors_that_are_turned_away_are_not_counted_as_visitors() -> None:
    with listening() as listener:
        address = target(listener)
        listener.shutdown(socket.SHUT_RDWR)

        with pytest.raises(OSError, match=r"refused|reset"), idle_visitors(address, 1):
            pytest.fail("there was nobody to visit")


def test_a_stalled_visitor_has_asked_for_what_does_not_end() -> None:
    with listening() as listener, stalled_visitors(target(listener), 1), accept(listener) as visitor:
        assert read_until(visitor, b"\r\n\r\n").startswith(b"GET /endless ")


def test_no_more_visitors_are_planned_than_there_are_descriptors(descriptors: tuple[int, int]) -> None:
    _, hard = descriptors

    assert possible_visitors(10) == 10
    assert possible_visitors(1 << 40) < hard
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
