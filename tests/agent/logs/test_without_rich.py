"""structlog without Rich."""

from __future__ import annotations

import subprocess
import sys

from tests.support.agents import ROOT, environment


def printed(program: str) -> str:
    """What a program writes that begins with nothing loaded."""
    result = subprocess.run(
        [sys.executable, "-c", f"import sys\nfrom agent.logs.without_rich import load_structlog\n{program}"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.strip()


def test_structlog_is_loaded_and_rich_is_not() -> None:
    assert (
        printed("load_structlog(); print('structlog' in sys.modules, 'rich' in sys.modules)") == "True False"
    )


def test_rich_can_be_loaded_afterwards() -> None:
    assert printed("load_structlog(); from rich.console import Console; print(Console.__name__)") == "Console"


def test_whoever_has_loaded_rich_keeps_it() -> None:
    assert printed("import rich; load_structlog(); print(sys.modules['rich'] is rich)") == "True"
