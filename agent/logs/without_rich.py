"""structlog without Rich.

Rule: Rich is loaded by what draws with it. structlog loads it wherever it is
installed, for tracebacks that this program does not draw with it, and an agent
without a table would carry those 4 MB for as long as it lives.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import cast


def load_structlog() -> None:
    """Import structlog, if nobody has yet, as it is imported where Rich is not installed.

    Whoever wants Rich afterwards gets it.
    """
    if "structlog" in sys.modules or "rich" in sys.modules:
        return
    modules = cast("dict[str, ModuleType | None]", sys.modules)
    modules["rich"] = None  # for the import system: there is no such module
    try:
        import structlog  # noqa: F401 - it is wanted in sys.modules
    finally:
        del modules["rich"]
