"""Lines leave the process, or they do not, and whoever logs never notices."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from agent.logs.writer import LogWriter


def dropped(count: int) -> str:
    return f"dropped {count}"


@contextmanager
def pipe() -> Iterator[tuple[int, TextIO]]:
    """The end to read, and the end to write as a stream."""
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "w", encoding="utf-8")
    try:
        yield reading, stream
    finally:
        stream.close()


def read_all(descriptor: int) -> str:
    with os.fdopen(descriptor, encoding="utf-8") as file:
        return file.read()


def test_every_line_is_written_in_order_before_close_returns() -> None:
    with pipe() as (reading, stream):
        writer = LogWriter(stream, say_dropped=dropped)
        for number in range(1_000):
            writer.write(f"line {number}")
        writer.close(timeout=10)
        stream.close()
        assert read_all(reading) == "".join(f"line {number}\n" for number in range(1_000))


def test_lines_right_behind_one_that_was_written_wait_and_are_written_together() -> None:
    class Counting(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            first.set()
            return len(text)

    written: list[str] = []
    first = threading.Event()
    writer = LogWriter(Counting(), say_dropped=dropped, pause=3_600)
    writer.write("one")
    assert first.wait(10)
    for line in ("two", "three"):
        writer.write(line)
    writer.close(timeout=10)  # the end is not what they wait for

    assert written == ["one\n", "two\nthree\n"]


def test_a_stream_in_memory_will_do() -> None:
    stream = io.StringIO()
    writer = LogWriter(stream, say_dropped=dropped)
    writer.write("été \udc80")
    writer.close(timeout=10)

    assert stream.getvalue() == "été \udc80\n"


def test_what_cannot_be_encoded_is_escaped() -> None:
    with pipe() as (reading, stream):
        writer = LogWriter(stream, say_dropped=dropped)
        writer.write("é \udc80")
        writer.close(timeout=10)
        stream.close()
        assert read_all(reading) == "é \\udc80\n"


def test_a_reader_that_does_not_read_keeps_nobody_waiting_and_learns_what_it_missed() -> None:
    with pipe() as (reading, stream):
        writer = LogWriter(stream, say_dropped=dropped, capacity=10)
        line = "x" * 1_000  # a pipe holds 64 KiB

        for _ in range(1_000):
            writer.write(line)  # would wait for ever if it waited at all
        writer.close(timeout=0)

        def finish() -> None:
            writer.close(timeout=30)
            stream.close()

        stop = threading.Thread(target=finish)
        stop.start()
        lines = read_all(reading).splitlines()
        stop.join()
        missed = sum(int(each.removeprefix("dropped ")) for each in lines if each.startswith("dropped "))
        assert missed > 0
        assert lines.count(line) + missed == 1_000


def test_a_reader_that_has_gone_takes_the_lines_and_nothing_else() -> None:
    with pipe() as (reading, stream):
        writer = LogWriter(stream, say_dropped=dropped)
        os.close(reading)

        for _ in range(3):
            writer.write("into the void")
        writer.close(timeout=10)

        stream.flush()  # nothing was left in the buffer to fail here, or at exit


def test_a_stream_that_was_closed_does_no_harm() -> None:
    stream = io.StringIO()
    stream.close()
    writer = LogWriter(stream, say_dropped=dropped)

    writer.write("nobody hears this")
    writer.close(timeout=10)


def test_a_stream_that_fails_in_its_own_way_does_not_stop_the_lines_after_it() -> None:
    class Moody(io.StringIO):
        def write(self, text: str) -> int:
            if "bad" in text:
                failed.set()
                raise RuntimeError
            return super().write(text)

    failed = threading.Event()
    stream = Moody()
    writer = LogWriter(stream, say_dropped=dropped)
    writer.write("bad")
    assert failed.wait(10)
    writer.write("good")
    writer.close(timeout=10)

    assert stream.getvalue() == "good\n"
