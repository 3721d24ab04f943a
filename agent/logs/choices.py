"""What an operator chooses about the log.

Rule: this imports next to nothing, so that whoever reads a command line knows the words
without loading what writes the log.
"""

from __future__ import annotations

from enum import Enum

from schemas.log_level import LogLevel as LogLevel  # the state file may say it, too


class LogFormat(Enum):
    """How lines look. Where nothing is chosen: console on a terminal, JSON elsewhere."""

    JSON = "json"
    CONSOLE = "console"
