"""An agent may open as many sockets as the system lets it, and keeps some for what it needs itself."""

from __future__ import annotations

import os
import resource
from contextlib import ExitStack

import pytest

from agent.process.descriptors import (
    Use,
    descriptor_limit,
    may_have,
    raise_descriptor_limit,
    room_for,
    shortage,
)
from tests.support.descriptors import descriptors_left, no_descriptors_left


def test_the_soft_limit_becomes_the_hard_one() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
        raise_descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(("use", "kept"), [(Use.PORT, 128), (Use.VISITOR, 64), (Use.SESSION, 32)])
def test_the_highest_numbers_are_kept_from_what_there_can_be_many_of(use: Use, kept: int) -> None:
    with descriptors_left(1000) as limit:
        assert descriptor_limit() == limit
        assert may_have(use, limit - kept - 1)
        assert not may_have(use, limit - kept)


def test_where_there_are_few_most_may_still_be_ports() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
        assert may_have(Use.PORT, 74)
        assert not may_have(Use.PORT, 75)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_room_is_what_can_be_opened_before_a_number_is_kept() -> None:
    with descriptors_left(400), ExitStack() as opened:
        room = room_for(Use.PORT)
        assert room is not None
        for _ in range(room):
            descriptor = os.open(os.devnull, os.O_RDONLY)
            opened.callback(os.close, descriptor)
            assert may_have(Use.PORT, descriptor)
        assert room_for(Use.PORT) == 0
        assert room > 200


def test_who_cannot_even_look_has_no_room() -> None:
    with no_descriptors_left():
        assert room_for(Use.SESSION) == 0


def test_a_shortage_says_what_there_is_and_what_to_do() -> None:
    with descriptors_left(1000) as limit:
        assert shortage() == (
            f"this agent may open {limit:,} files and has no more left than the 128 that it needs itself: "
            "raise the limit (LimitNOFILE, ulimit -n) or declare fewer ports"
        )
