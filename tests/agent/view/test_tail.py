"""The last log lines, in brief."""

from __future__ import annotations

import json

from agent.view.tail import Tail


def test_a_tail_keeps_the_last_whole_lines() -> None:
    tail = Tail(size=2)
    for text in ("one\ntw", "o\n", "\n", "three\nfo"):
        tail.write(text)

    assert tail.lines == ("two", "three")


def test_a_tail_shows_an_event_in_brief() -> None:
    tail = Tail()
    event = {"timestamp": "2026-05-04T12:00:00.123456Z", "level": "info", "logger": "visitors"}
    tail.write(json.dumps({**event, "event": "visitor_left", "tunnel": "web", "reason": None}) + "\n")
    tail.write(json.dumps({**event, "event": "state_refused", "level": "error", "exception": "…"}) + "\n")

    assert tail.lines == ("12:00:00Z visitor_left tunnel=web", "12:00:00Z error state_refused")
