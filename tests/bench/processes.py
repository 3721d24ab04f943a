"""The programs that a benchmark starts.

Rule: each leads a session of its own, so that Ctrl-C reaches only the benchmark, which then stops every one
of them with all that it started. What a program says goes to a file beside its configuration.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.support.listening import listening_inodes

PATIENCE: Final = 20.0  # seconds until a program that does not come up is given up
_POLL: Final = 0.02
_GRACE: Final = 3.0


class StartError(Exception):
    """A program ended, or does not do what it was started for; the message holds its last words."""


class Process:
    """One program that runs beside the benchmark."""

    def __init__(self, name: str, command: Sequence[str], directory: Path) -> None:
        self.name = name
        self._log = directory / f"{name}.log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def check(self) -> None:
        """:raises StartError: if it has ended."""
        if self._process.poll() is not None:
            raise StartError(f"{self.name} ended with status {self._process.returncode}{self.last_words}")

    def wait(self) -> None:
        """Until it has ended by itself."""
        self._process.wait(PATIENCE)

    @property
    def last_words(self) -> str:
        said = self._log.read_text(errors="replace").splitlines()[-5:]
        return "".join(f"\n  {line[:300]}" for line in said)

    def stop(self) -> None:
        for how in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                os.killpg(self.pid, how)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_GRACE)


@contextmanager
def running(name: str, command: Sequence[str], directory: Path) -> Iterator[Process]:
    process = Process(name, command, directory)
    try:
        yield process
    finally:
        process.stop()


def wait_listening(address: str, *processes: Process) -> None:
    """Until somebody listens there.

    :param processes: those that it depends on.
    :raises StartError: if one of them ends before, or it takes too long.
    """
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + PATIENCE
    while int(port) not in listening_inodes(host):
        for process in processes:
            process.check()
        if time.monotonic() > deadline:
            said = "".join(process.last_words for process in processes)
            raise StartError(f"nobody listens at {address}{said}")
        time.sleep(_POLL)


def output_of(command: Sequence[str], *, seconds: float, environment: Mapping[str, str] | None = None) -> str:
    """What a load generator prints. Whatever its exit status: what it printed says more.

    :param seconds: how long it is meant to run; much later it is ended.
    :raises StartError: if it had to be ended.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=seconds + PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise StartError(f"{Path(command[0]).name} did not end") from error
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return printed
