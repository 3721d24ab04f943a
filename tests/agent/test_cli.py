"""Whatever is typed and whatever goes wrong: one line, an exit status, and no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from select import select

import pytest

from tests.support.agents import TIDEGATE, environment, tidegate, typed
from tests.support.states import write_gateway


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "nothing.yaml"], "nothing.yaml: there is no such file"),
        (["check", "empty"], "empty: this directory holds no state files"),
        (["status"], "there is no gateway.yaml or client.yaml in this directory"),
        (["status", "nothing.yaml"], "nothing.yaml: there is no such file"),
        (["status", "--socket", "nothing.sock"], "no agent runs at nothing.sock"),
        (["gateway", "state.yaml", "--live"], "--live needs a terminal"),
        (["gateway", "state.yaml", "--log-file", "empty"], "the log file empty cannot be written"),
        (["demo", "--live"], "--live needs a terminal"),
        (["pki", "client", "empty", "homelab"], "empty holds no certificate authority"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_whatever_fails_is_one_line_and_status_1(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write_gateway(tmp_path).rename(tmp_path / "state.yaml")

    status, out, err = typed(*arguments, capsys=capsys)

    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"tidegate: error: {message}")


@pytest.mark.parametrize("option", ["--log-level", "--log-level="], ids=["without Typer", "with Typer"])
@pytest.mark.parametrize("role", ["gateway", "client"])
def test_an_agent_does_not_start_on_a_state_with_problems(role: str, option: str, tmp_path: Path) -> None:
    (tmp_path / "state.yaml").write_text("tidegate: 1\nnonsense: 1\n")

    result = tidegate(role, "state.yaml", *f"{option} info".replace("= ", "=").split(), directory=tmp_path)

    *problems, last = [line for line in result.stderr.splitlines() if not line.startswith("{")]
    assert result.returncode == 1
    assert problems
    assert all(line.startswith("state.yaml:") for line in problems)
    assert last.startswith("tidegate: error: the state has ")


# The alarm interrupts a write that waits for the reader when it has written a part.
INTERRUPTED_PRINT = """
import signal
from agent.cli import _mend_streams
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
_mend_streams()
print("a word and " * 100_000 + "its end", flush=True)
"""


def test_a_long_text_arrives_whole_also_without_a_buffer() -> None:
    """With PYTHONUNBUFFERED, which containers like to set, Python ignores what a write did not take."""
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED_PRINT],
        stdout=subprocess.PIPE,
        env=environment() | {"PYTHONUNBUFFERED": "1"},
    ) as printing:
        assert printing.stdout is not None
        assert select([printing.stdout], [], [], 20.0)[0]
        for _ in range(3):
            _wait_for_another_alarm(printing.pid)
        heard = printing.stdout.read()

    assert heard == b"a word and " * 100_000 + b"its end\n"


def _wait_for_another_alarm(process: int) -> None:
    """An alarm wakes the process, which the system counts as one more switch to it."""
    before = _switches(process)
    while _switches(process) == before:
        pass


def _switches(process: int) -> str:
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return next(line for line in status.splitlines() if line.startswith("voluntary_ctxt_switches"))


@pytest.mark.parametrize("output", ["| true", ">&-", "2>&-", ">/dev/full", ">/dev/full 2>&1"])
@pytest.mark.parametrize("command", ["check --no-files gateway.yaml", "demo", "--help"])
def test_an_output_that_cannot_be_written_to_is_no_reason_for_a_traceback(
    command: str, output: str, tmp_path: Path
) -> None:
    write_gateway(tmp_path)

    result = subprocess.run(
        ["bash", "-c", f"{' '.join(TIDEGATE)} {command} {output}"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert "Traceback" not in result.stderr
    assert "bug" not in result.stderr
    assert result.stderr.count("\n") <= 1


def test_a_bug_is_one_line_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def defect(*_: object, **__: object) -> int:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("agent.commands.check.run_check", defect)

    status, out, err = typed("check", "x.yaml", capsys=capsys)

    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "this is a bug in Tidegate" in err
