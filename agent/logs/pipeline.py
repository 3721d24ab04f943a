"""Logging: one pipeline for our own events and for what libraries log.

Rule: every line that leaves the process passes through here, is redacted here,
and names its event by a constant, ``noun_verbed``; what varies is in its keys.
Nothing here raises into the code that logs or makes it wait.

A line is JSON where a program reads it, and text with colors where a person does.
Libraries speak through :mod:`logging`; from WARNING on they are heard, as the
event ``library_logged``. Times are UTC, RFC 3339.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TextIO, cast

import structlog
from pydantic_core import PydanticSerializationError, to_json
from structlog.typing import EventDict, WrappedLogger

from .choices import LogFormat, LogLevel
from .plain_lines import plain_line, timestamp
from .redaction import Plain, redact
from .writer import LogWriter

_CONFIGURED: Final = "configured_level"
_FLUSH: Final = 1.0  # seconds that a slow reader has at the end
_LINES: Final = ("exception", "stack")  # the only values that may go over several lines


@contextmanager
def configured(
    *, log_format: LogFormat | None = None, level: LogLevel = LogLevel.INFO, stream: TextIO | None = None
) -> Iterator[None]:
    """Log to ``stream`` (standard error if None) while the block runs, to the last line.

    What was set up before is in force again afterwards.
    """
    stream = sys.stderr if stream is None else stream
    is_terminal = _is_terminal(stream)
    for_people = is_terminal if log_format is None else log_format is LogFormat.CONSOLE
    colors = is_terminal and not os.environ.get("NO_COLOR")
    render = _console(colors=colors) if for_people else _json
    writer = LogWriter(stream, say_dropped=lambda count: _line_about_dropped(render, count))
    before = structlog.get_config() if structlog.is_configured() else None
    structlog.configure(
        processors=[_Pipeline(render)],
        wrapper_class=_leveled(level, _everything(for_people=for_people)),
        logger_factory=lambda *names: _NamedLogger(writer, *names[:1]),
        context_class=dict,
        cache_logger_on_first_use=False,
    )
    try:
        with _libraries_heard():
            yield
    finally:
        if before is None:
            structlog.reset_defaults()
        else:
            structlog.configure(**before)
        writer.close(timeout=_FLUSH)


def set_level(level: LogLevel | None) -> None:
    """Log from this level on, also with loggers that are in use. None: as it was configured."""
    leveled = structlog.get_config()["wrapper_class"]
    if hasattr(leveled, _CONFIGURED):  # else nothing is configured, and nobody reads
        _silence(leveled, getattr(leveled, _CONFIGURED) if level is None else level)


def _everything(*, for_people: bool) -> type:
    """A class of loggers that leave out nothing, and take the short way to a line where there is one."""
    everything: Any = structlog.make_filtering_bound_logger(LogLevel.DEBUG.value)
    if for_people:
        return cast("type", everything)
    by_the_long_way = everything.info

    def info(self: Any, event: str, *arguments: object, **said: object) -> None:
        line = None if arguments else plain_line("info", self._logger.name, event, self._context, said)
        if line is None:
            by_the_long_way(self, event, *arguments, **said)
        else:
            self._logger.write(line)

    return type("PlainLines", (everything,), {"info": info})


def _leveled(level: LogLevel, everything: type) -> type:
    """A class of loggers whose level can change. What is left out costs a call that does nothing."""
    leveled = type("LeveledLogger", (everything,), {_CONFIGURED: level})
    _silence(leveled, level)
    return leveled


def _silence(leveled: type, level: LogLevel) -> None:
    levels = list(LogLevel)
    for one in levels:
        if levels.index(one) < levels.index(level):
            setattr(leveled, one.value, _say_nothing)
        elif one.value in vars(leveled):
            delattr(leveled, one.value)


def _say_nothing(self: object, event: str, *args: object, **details: object) -> None:
    """The method of a level that is left out."""


# The transports of the event loop log every TLS handshake that fails, as an error of ours. Whoever waits for
# the handshake gets the same as an exception, and says whose fault it was and what to do.
_SAID_BETTER: Final = "SSL handshake failed"


class _NamedLogger:
    """What structlog hands the finished line to, whatever its level."""

    def __init__(self, writer: LogWriter, name: str = "") -> None:
        self.name = name
        self.write = writer.write
        self.debug = self.info = self.warning = self.error = self.critical = writer.write


class _Pipeline:
    """From an event to a line, in one step, so that one place can promise not to raise."""

    def __init__(self, render: Callable[[dict[str, Plain]], str]) -> None:
        self._render = render

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        try:
            return self._line(logger, method, event)
        except Exception as error:  # noqa: BLE001 - a line that cannot be made must not stop the work it is about
            failure = {"about": redact(event.get("event")), "reason": type(error).__name__}
            return json.dumps({"level": "error", "event": "log_failed"} | failure)

    def _line(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        if "exc_info" in event:
            _format_exception(event)
        plain = redact(event)
        assert isinstance(plain, dict)
        first: dict[str, Plain] = {"timestamp": timestamp(), "level": method}
        if logger.name:
            first["logger"] = logger.name
        first["event"] = plain.get("event")
        # They come first, since a reader looks for them, and last, so that no other has their names.
        return self._render({**first, **plain, **first})


def _format_exception(event: EventDict) -> None:
    exc_info = event["exc_info"]
    structlog.processors.format_exc_info(None, "", event)
    if isinstance(exc_info, tuple) and "exception" not in event:
        event["exception"] = repr(exc_info)  # some libraries put a class where the exception should be


def _json(event: dict[str, Plain]) -> str:
    try:
        return to_json(event).decode()
    except PydanticSerializationError:  # half of a surrogate pair, as in a file's name that is not UTF-8
        return json.dumps(event, ensure_ascii=False, allow_nan=False)


def _console(*, colors: bool) -> Callable[[dict[str, Plain]], str]:
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback, sort_keys=False, pad_event_to=24
    )

    def render(event: dict[str, Plain]) -> str:
        shown: dict[str, Any] = {
            key: _printable(value, keep="\n\t" if key in _LINES else "") if isinstance(value, str) else value
            for key, value in event.items()
        }
        return str(renderer(None, "", shown))

    return render


def _printable(text: str, *, keep: str) -> str:
    """Without what a terminal would obey: a visitor chooses some of the texts that are logged."""
    return "".join(
        character
        if character.isprintable() or character in keep
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def _line_about_dropped(render: Callable[[dict[str, Plain]], str], count: int) -> str:
    event = "log_lines_dropped"
    return render({"timestamp": timestamp(), "level": "warning", "event": event, "count": count})


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # it is closed
        return False


@contextmanager
def _libraries_heard() -> Iterator[None]:
    """Route :mod:`logging` and :mod:`warnings` into the pipeline."""
    root = logging.getLogger()
    handlers, level, raise_exceptions = root.handlers[:], root.level, logging.raiseExceptions
    root.handlers[:] = [_Forward()]
    root.setLevel(logging.WARNING)
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        logging.raiseExceptions = raise_exceptions
        root.setLevel(level)
        root.handlers[:] = handlers


class _Forward(logging.Handler):
    """A record of :mod:`logging` becomes an event."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "asyncio" and str(record.msg).startswith(_SAID_BETTER):
            return
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - its arguments do not fit; the text itself still says something
            message = str(record.msg)
        log: Any = structlog.get_logger(record.name)
        say = log.error if record.levelno >= logging.ERROR else log.warning
        say("library_logged", message=message, exc_info=record.exc_info or None)
