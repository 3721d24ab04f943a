"""What a result says of the machine that it was measured on."""

from __future__ import annotations

import json

import pytest

from .machine import describe, first_version, versions


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("wrk debian/4.1.0-3+b2 [epoll] Copyright (C) 2012 Will Glozer\n", "4.1.0-3+b2"),
        ("iperf 3.12 (cJSON 1.7.15)\nLinux", "3.12"),
        ("nginx version: nginx/1.22.1\n", "1.22.1"),
        ("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\n", "2.6.12-1+deb12u4"),
        ("bore-cli 0.6.0\n", "0.6.0"),
        ("usage: something else", "unknown"),
    ],
)
def test_a_version_is_found_in_what_programs_say(said: str, version: str) -> None:
    assert first_version(said) == version


def test_the_description_can_be_written_and_names_what_carries_bytes() -> None:
    described = json.loads(json.dumps(describe()))

    assert described["cores"] >= 1
    assert {"tidegate", "uvloop", "aiofastnet"} <= described["libraries"].keys()


def test_a_program_that_is_not_there_has_no_version() -> None:
    assert versions(["no-such-program"]) == {}
