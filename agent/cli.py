"""Where the program begins and ends.

Rule: whatever is typed and whatever goes wrong, a person reads one line and no
traceback. What can be typed is in ``commands``; an agent that is started in the usual
way does without that and what it imports.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from .commands.start import read_plainly


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit. Whatever goes wrong is told in one line."""
    _mend_streams()
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as error:  # noqa: BLE001 - the last resort
        from .commands.complaint import complain  # nothing has gone wrong yet

        status = complain(error, arguments=arguments)
    sys.exit(status)


def _run(arguments: Sequence[str]) -> int:
    agent = read_plainly(arguments)
    if agent is not None:
        return agent.run()
    from .commands.app import run_command  # an agent would keep Typer for as long as it lives

    return run_command(arguments)


def _mend_streams() -> None:
    """Make sure that printing is harmless, however the program was started."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started us: tidegate check STATE >&-
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - like a stream
        elif isinstance(stream, io.TextIOWrapper):
            stream = _written_whole(stream)
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 shows "?" and no traceback
            setattr(sys, name, stream)


def _written_whole(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """A stream that writes all of a text, as one with a buffer does.

    With PYTHONUNBUFFERED, which containers like to set, there is no buffer, and Python drops
    what a write did not take. A write to a full pipe takes a part when a signal interrupts it,
    or work that the system does for uvloop.
    """
    if not isinstance(stream.buffer, io.FileIO):
        return stream
    return open(
        stream.fileno(), "w", buffering=1, encoding=stream.encoding, errors=stream.errors, closefd=False
    )
