"""How much an agent says in its log.

Rule: this imports nothing of ours and no library, so that whoever reads a command line
knows the words without loading what reads state files or writes the log.
"""

from __future__ import annotations

from enum import Enum


class LogLevel(Enum):
    """The least that is logged; everything below, which stands above it here, is left out."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
