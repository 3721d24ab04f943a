"""A program on a terminal: a pseudo-terminal of a given size, and what the program wrote to it.

Nothing here interprets what was written; reading blocks until it is there, or until the test's time is up.
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ENTER_SCREEN: Final = "\x1b[?1049h"
LEAVE_SCREEN: Final = "\x1b[?1049l"
HIDE_CURSOR: Final = "\x1b[?25l"
SHOW_CURSOR: Final = "\x1b[?25h"
CTRL_C: Final = "\x03"


class Terminal:
    """The side of the terminal at which a person sits."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes]) -> None:
        self.written = ""
        self._descriptor = descriptor
        self._process = process

    def read_until(self, text: str) -> None:
        """Read on until ``text`` has been written."""
        while text not in self.written:
            if not self._read():
                raise AssertionError(f"{text!r} was never written, but this: {self.written}")

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def resize(self, width: int, height: int) -> None:
        _set_size(self._descriptor, width, height)

    def wait(self) -> int:
        """The exit status, after everything was read."""
        while self._read():
            pass
        return self._process.wait()

    @property
    def is_clean(self) -> bool:
        """Whether the program left the screen and the cursor as it found them."""
        pairs = ((ENTER_SCREEN, LEAVE_SCREEN), (HIDE_CURSOR, SHOW_CURSOR))
        return all(
            begun not in self.written or self.written.rindex(begun) < self.written.rfind(ended)
            for begun, ended in pairs
        )

    def _read(self) -> bool:
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:  # Linux says EIO when the program has gone
            return False
        self.written += data.decode("utf-8", "replace")
        return bool(data)


@contextmanager
def on_terminal(
    command: Sequence[str],
    *,
    directory: Path,
    width: int = 80,
    height: int = 24,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Terminal]:
    """Run a command on a terminal of its own, which is also its controlling one; it is killed in the end."""
    ours, theirs = pty.openpty()
    _set_size(theirs, width, height)
    unwanted = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"}
    inherited = {key: value for key, value in os.environ.items() if key not in unwanted}
    process = subprocess.Popen(
        command,
        cwd=directory,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**inherited, "TERM": "xterm-256color", **(environment or {})},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
    )
    os.close(theirs)
    try:
        yield Terminal(ours, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _set_size(descriptor: int, width: int, height: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
