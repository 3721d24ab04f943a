"""What a line looks like, and that none carries a key."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import warnings
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from agent.logs.choices import LogFormat, LogLevel
from agent.logs.pipeline import configured, set_level
from tests.support import pki
from tests.support.source import ROOT

log: Any = structlog.get_logger("sessions")  # as modules do it, before anything is configured
KEY = pki.client().key.decode()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def warn(text: str) -> None:
    """Warn as if warnings were not errors, which they are in these tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn(text, stacklevel=1)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def test_a_line_says_when_how_bad_who_and_what_in_this_order(stream: io.StringIO) -> None:
    with configured(stream=stream):
        log.bind(client="homelab").info("session_opened", address="192.0.2.1:5555", bytes_in=7)

    (line,) = lines(stream)
    assert list(line) == ["timestamp", "level", "logger", "event", "client", "address", "bytes_in"]
    stamp = datetime.fromisoformat(line.pop("timestamp"))
    assert stamp.tzinfo is not None
    assert abs((stamp - datetime.now(UTC)).total_seconds()) < 3600
    assert line == {
        "level": "info",
        "logger": "sessions",
        "event": "session_opened",
        "client": "homelab",
        "address": "192.0.2.1:5555",
        "bytes_in": 7,
    }


def test_no_value_of_an_event_takes_the_place_of_when_how_bad_and_who(stream: io.StringIO) -> None:
    with configured(stream=stream):
        log.info("water_measured", level="high", timestamp="noon", logger="gauge")

    (line,) = lines(stream)
    assert (line["level"], line["logger"]) == ("info", "sessions")
    assert line["timestamp"] != "noon"


def test_times_are_utc_and_say_so(stream: io.StringIO) -> None:
    with configured(stream=stream):
        log.info("session_opened")

    assert lines(stream)[0]["timestamp"].endswith("Z")


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        (LogLevel.DEBUG, ["debug", "info", "warning", "error"]),
        (LogLevel.INFO, ["info", "warning", "error"]),
        (LogLevel.WARNING, ["warning", "error"]),
        (LogLevel.ERROR, ["error"]),
    ],
)
def test_what_is_below_the_level_is_left_out(stream: io.StringIO, level: LogLevel, heard: list[str]) -> None:
    with configured(stream=stream, level=level):
        for method in ("debug", "info", "warning", "error"):
            getattr(log, method)("thing_happened")

    assert [line["level"] for line in lines(stream)] == heard


def test_a_program_gets_json_and_a_person_gets_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    file, terminal, told = io.StringIO(), Terminal(), io.StringIO()
    for stream, log_format in ((file, None), (terminal, None), (told, LogFormat.CONSOLE)):
        with configured(stream=stream, log_format=log_format):
            log.info("session_opened", client="homelab")

    assert lines(file)[0]["client"] == "homelab"
    assert "\x1b[" in terminal.getvalue()
    assert "\x1b[" not in told.getvalue()
    assert "session_opened" in told.getvalue()
    assert "client=homelab" in told.getvalue()


def test_colors_can_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    with configured(stream=terminal):
        log.info("session_opened")

    assert "\x1b" not in terminal.getvalue()


@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.CONSOLE])
def test_what_a_visitor_sends_cannot_command_a_terminal_or_forge_a_line(
    stream: io.StringIO, log_format: LogFormat
) -> None:
    evil = "\x1b]0;owned\x07\r\n2030-01-01 [info] forged \x9b2J\u202e"
    with configured(stream=stream, log_format=log_format):
        log.info("visitor_refused", hostname=evil, several=[evil])

    text = stream.getvalue()
    assert text.count("\n") == 1
    assert log_format is LogFormat.JSON or text.removesuffix("\n").isprintable()
    assert not {"\x1b", "\x07", "\r"} & set(text)


def test_an_exception_is_told_with_its_traceback(stream: io.StringIO) -> None:
    with configured(stream=stream):
        try:
            raise ValueError("out of cheese")
        except ValueError:
            log.exception("request_failed")

    (line,) = lines(stream)
    assert line["level"] == "error"
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: out of cheese")
    assert "exc_info" not in line


@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.CONSOLE])
def test_no_key_ever_passes(stream: io.StringIO, log_format: LogFormat) -> None:
    body = "".join(KEY.splitlines()[1:-1])
    library = logging.getLogger("uvicorn.error")
    with configured(stream=stream, log_format=log_format, level=LogLevel.DEBUG):
        log.bind(bound=KEY).info(
            "tunnels_declared", key=KEY, nested=[{"a": KEY.encode()}], password="hunter2"
        )
        log.info(KEY)  # a mistake, but not one that may cost the key
        try:
            raise ValueError(f"cannot load {KEY!r}") from OSError(KEY)
        except ValueError:
            log.exception("request_failed", reason=KEY)
            library.exception("failed with %s", KEY)
        library.warning(KEY)
        warn(KEY)

    text = stream.getvalue().replace("\\n", "").replace("\n", "").replace("\\", "")
    assert text.count("[redacted]") > 8
    assert "hunter2" not in text
    assert not any(body[start : start + 12] in text for start in range(len(body) - 12))


def test_libraries_are_heard_from_warning_on_through_the_same_pipeline(stream: io.StringIO) -> None:
    with configured(stream=stream, level=LogLevel.DEBUG):
        logging.getLogger("uvicorn.access").info("GET / 200")
        logging.getLogger("uvicorn.error").warning("ASGI %s", "gone wrong")
        logging.getLogger("asyncio").critical("worse")

    heard = [(line["level"], line["logger"], line["event"], line["message"]) for line in lines(stream)]
    assert heard == [
        ("warning", "uvicorn.error", "library_logged", "ASGI gone wrong"),
        ("error", "asyncio", "library_logged", "worse"),
    ]


def test_a_record_whose_arguments_do_not_fit_still_says_its_text(stream: io.StringIO) -> None:
    with configured(stream=stream):
        logging.getLogger("sloppy").error("%d of %d", "one")

    assert lines(stream)[0]["message"] == "%d of %d"


def test_what_a_library_gives_in_the_place_of_an_exception_does_no_harm(stream: io.StringIO) -> None:
    the_class: Any = ConnectionResetError
    junk: Any = (type(the_class), the_class, the_class.__traceback__)
    with configured(stream=stream):
        logging.getLogger("asyncio").error("it failed", exc_info=junk)

    (line,) = lines(stream)
    assert line["message"] == "it failed"
    assert "ConnectionResetError" in line["exception"]


def test_what_cannot_be_rendered_is_reported_and_does_not_raise(stream: io.StringIO) -> None:
    with configured(stream=stream):
        log.info(
            "number_seen", number=10**5_000, path="\udcff"
        )  # more digits than Python is willing to write

    (line,) = lines(stream)
    assert (line["event"], line["about"]) == ("log_failed", "number_seen")


def test_a_warning_of_the_interpreter_is_a_line(stream: io.StringIO) -> None:
    with configured(stream=stream):
        warn("deprecated thing")

    assert "deprecated thing" in lines(stream)[0]["message"]


def test_a_failed_handshake_is_left_to_whoever_waits_for_it(stream: io.StringIO) -> None:
    """The event loop's own line about it would call a stranger's mistake an error of ours."""
    with configured(stream=stream):
        logging.getLogger("asyncio").error("SSL handshake failed\nprotocol: %s", "x")
        logging.getLogger("asyncio").error("something else")

    assert [line["message"] for line in lines(stream)] == ["something else"]


def test_what_was_set_up_before_is_in_force_again_afterwards(stream: io.StringIO) -> None:
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    was_configured = structlog.is_configured()
    outer = io.StringIO()
    with configured(stream=outer):
        with configured(stream=stream):
            log.info("inner_logged")
        log.info("outer_logged")

    assert [line["event"] for line in lines(stream)] == ["inner_logged"]
    assert [line["event"] for line in lines(outer)] == ["outer_logged"]
    assert structlog.is_configured() == was_configured
    assert (logging.getLogger().handlers, logging.getLogger().level) == (handlers, level)


def test_a_program_whose_standard_error_is_broken_runs_on_and_exits_well() -> None:
    program = (
        "import structlog\n"
        "from agent.logs.pipeline import configured\n"
        "with configured():\n"
        "    for _ in range(5): structlog.get_logger().error('line_lost')\n"
        "print('still here')\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-c", program]
        result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=writing, check=False)
    finally:
        os.close(writing)

    assert (result.returncode, result.stdout) == (0, b"still here\n")


def test_the_level_can_change_for_loggers_that_are_in_use(stream: io.StringIO) -> None:
    with configured(stream=stream, level=LogLevel.INFO):
        bound = log.bind(client="homelab")
        bound.debug("left_out")
        set_level(LogLevel.DEBUG)
        bound.debug("told")
        set_level(LogLevel.ERROR)
        bound.warning("left_out")
        log.bind().info("left_out")
        bound.error("told_too")
        set_level(None)
        bound.debug("left_out")
        bound.info("told_again")

    assert [line["event"] for line in lines(stream)] == ["told", "told_too", "told_again"]


def test_a_level_is_for_what_is_configured_and_no_longer(stream: io.StringIO) -> None:
    set_level(LogLevel.ERROR)  # nothing is configured: nothing happens
    with configured(stream=stream, level=LogLevel.WARNING):
        set_level(LogLevel.ERROR)
        with configured(stream=stream, level=LogLevel.INFO):
            log.info("inner")
        log.warning("left_out")
        log.error("outer")

    assert [line["event"] for line in lines(stream)] == ["inner", "outer"]
