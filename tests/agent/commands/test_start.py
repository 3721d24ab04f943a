"""The usual ways to start an agent are understood without Typer, and as Typer understands them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.commands.app import run_command
from agent.commands.start import AgentCommand, read_plainly

OPTIONS = (
    ["--live"],
    ["--no-live"],
    ["--stock-loop"],
    ["--log-format", "json"],
    ["--log-format", "console"],
    ["--log-level", "debug"],
    ["--log-level", "error"],
    ["--log-file", "agent.log"],
)
STATE = ["gateway.yaml"]

# Right and wrong, in any order: a word may become the value of the option before it.
words = st.sampled_from(
    [
        *(
            "gateway",
            "client",
            "check",
            "g.yaml",
            "d/../x",
            " ",
            "",
            "-",
            "--",
            "-v",
            "--help",
            "~/x",
            "ö",
            "$HOME",
        ),
        *(
            "--live",
            "--no-live",
            "--stock-loop",
            "--log-format",
            "--log-level",
            "--log-file",
            "--log",
            "--liv",
        ),
        *("json", "console", "xml", "JSON", "info", "debug", "--log-level=debug", "--live=1", "--log-file=x"),
    ]
)
lines = st.lists(st.sampled_from([*OPTIONS, STATE]), max_size=6).map(lambda parts: sum(parts, list[str]()))
roles = st.sampled_from(["gateway", "client"])


def read_by_typer(line: list[str]) -> AgentCommand | None:
    """What Typer makes of it, None if it starts no agent."""
    started: list[AgentCommand] = []

    def run(command: AgentCommand) -> int:
        started.append(command)
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AgentCommand, "run", run)
        try:
            run_command(line)
        except Exception:  # noqa: BLE001 - its complaint is not the point
            return None
    return started[0] if started else None


@given(role=roles, line=lines | st.lists(words, max_size=5))
def test_what_is_understood_without_typer_is_what_typer_understands(role: str, line: list[str]) -> None:
    plainly = read_plainly([role, *line])

    assert plainly is None or plainly == read_by_typer([role, *line])


@given(role=roles, before=st.permutations(OPTIONS), after=st.permutations(OPTIONS))
def test_every_option_is_understood_without_typer(
    role: str, before: list[list[str]], after: list[list[str]]
) -> None:
    line = [role, *sum(before, list[str]()), *STATE, *sum(after, list[str]())]

    assert read_plainly(line) is not None


def test_the_defaults_are_those_of_typer() -> None:
    assert read_plainly(["client", "c.yaml"]) == AgentCommand(role="client", state=Path("c.yaml"))
    assert read_by_typer(["client", "c.yaml"]) == AgentCommand(role="client", state=Path("c.yaml"))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "gateway",
        "check g.yaml",
        "gateway g.yaml more.yaml",
        "gateway --help",
        "gateway g.yaml --help",
        "gateway -",
        "gateway g.yaml --log-format xml",
        "gateway g.yaml --log-level",
        "gateway g.yaml --log-file",
        "gateway g.yaml --log-file --live",
        "gateway g.yaml --verbose",
    ],
)
def test_whatever_else_is_typed_is_left_to_typer(line: str) -> None:
    assert read_plainly(line.split()) is None
