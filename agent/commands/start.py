"""The commands ``gateway`` and ``client``: what was asked for, and how it is usually typed.

Rule: what :func:`read_plainly` understands means exactly what Typer makes of it, and it
leaves all else to Typer: ``--help``, every abbreviation, and every slip of the keyboard.
Typer takes 1.5 MB, and an agent would keep them for as long as it lives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent.logs.choices import LogFormat, LogLevel

ROLES: Final = ("gateway", "client")

_SWITCHES: Final = {
    "--live": ("live", True),
    "--no-live": ("live", False),
    "--stock-loop": ("stock_loop", True),
}
_CHOICES: Final = {
    f"--{name.replace('_', '-')}": (name, {choice.value: choice for choice in choices})
    for name, choices in (("log_format", LogFormat), ("log_level", LogLevel))
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCommand:
    """An agent to run, and how. None: the default depends on whether there is a terminal."""

    role: str
    state: Path
    live: bool | None = None
    log_format: LogFormat | None = None
    log_level: LogLevel = LogLevel.INFO
    log_file: Path | None = None
    stock_loop: bool = False

    def run(self) -> int:
        """Run the agent until it stops.

        :returns: the exit status.
        :raises TidegateError: if the agent cannot start, or fails.
        """
        from agent.logs.without_rich import (
            load_structlog,  # in this order: what comes second imports structlog
        )

        load_structlog()
        from .foreground import run_role

        return run_role(
            self.role,
            self.state,
            live=self.live,
            log_format=self.log_format,
            log_level=self.log_level,
            log_file=self.log_file,
            stock_loop=self.stock_loop,
        )


def read_plainly(arguments: Sequence[str]) -> AgentCommand | None:
    """The agent to run, None if that is not plain to see."""
    if not arguments or arguments[0] not in ROLES:
        return None
    state: Path | None = None
    options: dict[str, Any] = {}
    words = iter(arguments[1:])
    for word in words:
        if word in _SWITCHES:
            name, options[name] = _SWITCHES[word]
        elif word in _CHOICES:
            name, choices = _CHOICES[word]
            options[name] = choices.get(next(words, ""))
            if options[name] is None:
                return None
        elif word == "--log-file":
            file = next(words, "")
            if not _is_plain(file):
                return None
            options["log_file"] = Path(file)
        elif state is None and _is_plain(word):
            state = Path(word)
        else:
            return None
    return None if state is None else AgentCommand(role=arguments[0], state=state, **options)


def _is_plain(path: str) -> bool:
    return bool(path) and not path.startswith("-")
