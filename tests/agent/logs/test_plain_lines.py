"""The short way to a line leads to the same line."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st

from agent.logs import pipeline as logs
from agent.logs import plain_lines
from agent.logs.choices import LogLevel
from agent.logs.pipeline import configured
from agent.logs.plain_lines import plain_line, timestamp
from tests.support import pki

STAMP = re.compile(r'"timestamp":"[^"]*"')

names = st.sampled_from(["client", "visitor", "bytes_in", "reason", "api_key", "password", "event", "level"])
# What lines are made of, what looks like a secret, and what JSON must escape.
words = st.text(alphabet='abz09AZ_./:=-[]{}"\\ é\n\x1b\udc80', max_size=80)
pieces = st.sampled_from(["token: abc", "Cookie=1", "http://me:word@there/", "[2001:db8::1]:443", "a" * 80])
values = st.one_of(
    words,
    pieces,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.binary(max_size=8),
    st.lists(words, max_size=2),
)


def by_the_long_way(level: str, logger: str, event: str, values: dict[str, object]) -> str:
    stream = io.StringIO()
    with configured(stream=stream, level=LogLevel.DEBUG):
        log: Any = structlog.get_logger(logger)
        getattr(log, level)(event, **values)
    return stream.getvalue().removesuffix("\n")


def without_time(line: str) -> str:
    return STAMP.sub("", line, count=1)


@given(st.dictionaries(names, values, max_size=5))
@example({"a": -0.0, "b": 1e22, "c": 0.001, "d": 10**400, "e": float("nan")})
@example({"reason": pki.client().key.decode()})
@example({pki.client().key.decode(): 1})
def test_a_line_made_the_short_way_is_the_one_made_the_long_way(said: dict[str, Any]) -> None:
    said.pop("event", None)  # Python itself would object
    short = plain_line("debug", "visitors", "visitor_left", {}, said)

    # Only what is said at the level of the agent's own business takes the short way.
    if short is not None:
        assert without_time(short) == without_time(by_the_long_way("debug", "visitors", "visitor_left", said))


def test_the_line_of_a_visitor_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(value: object) -> object:
        raise AssertionError(f"{value} went the long way")

    monkeypatch.setattr(logs, "redact", refuse)
    stream = io.StringIO()
    with configured(stream=stream):
        log: Any = structlog.get_logger("visitors").bind(listen="0.0.0.0:443")
        log.info("visitor_left", visitor="[2001:db8::7]:50123", hostname=None, bytes_in=7, seconds=0.25)

    line = json.loads(stream.getvalue())
    del line["timestamp"]
    assert line == {
        "level": "info",
        "logger": "visitors",
        "event": "visitor_left",
        "listen": "0.0.0.0:443",
        "visitor": "[2001:db8::7]:50123",
        "hostname": None,
        "bytes_in": 7,
        "seconds": 0.25,
    }


def test_what_is_said_takes_the_place_of_what_was_bound() -> None:
    line = plain_line("info", "", "thing_seen", {"a": 1, "b": 2}, {"a": 3})

    assert line is not None
    assert list(json.loads(line).items())[1:] == [
        ("level", "info"),
        ("event", "thing_seen"),
        ("a", 3),
        ("b", 2),
    ]


@pytest.mark.parametrize(
    "said",
    [
        {"password": "hunter2"},
        {"exc_info": True},
        {"timestamp": "noon"},
        {"flag": True},
        {"nested": {"a": 1}},
        {f"v{number}": number for number in range(200)},
    ],
)
def test_what_needs_a_closer_look_goes_the_long_way(said: dict[str, object]) -> None:
    assert plain_line("info", "visitors", "visitor_left", {}, said) is None


def test_the_time_is_now_in_utc() -> None:
    before = datetime.now(UTC)
    now = datetime.fromisoformat(timestamp())

    assert before.replace(microsecond=0) <= now <= datetime.now(UTC)
    assert len(timestamp()) == len("2030-01-01T00:00:00.000000Z")


def test_what_is_remembered_has_an_end() -> None:
    for number in range(3_000):
        assert plain_line("info", "visitors", "visitor_left", {}, {"hostname": f"{number}.example.com"})

    assert len(plain_lines._KNOWN) <= 1_024
