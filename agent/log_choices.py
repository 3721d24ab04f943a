"""What an operator chooses about the log.

Rule: this imports nothing of ours and no library, so that whoever reads a command line
knows the words without loading what writes the log.
"""

from __future__ import annotations

from enum import Enum


class LogFormat(Enum):
    """How lines look. Where nothing is chosen: console on a terminal, JSON elsewhere."""

    JSON = "json"
    CONSOLE = "console"


class LogLevel(Enum):
    """What is left out: everything below."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
