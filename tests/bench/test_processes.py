"""Programs that are started are watched, and stopped with all that they started."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support.services import listening, target

from . import processes
from .processes import StartError, output_of, running, wait_listening

_WITH_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
child.wait()
"""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state != "Z"  # one that has ended and waits for whoever takes note


def test_what_a_program_started_is_stopped_with_it(tmp_path: Path) -> None:
    with running("parent", [sys.executable, "-c", _WITH_CHILD], tmp_path) as process:
        while not process.last_words:
            process.check()
        child = int(process.last_words)
        assert is_running(child)

    while is_running(child):
        pass  # the signal is sent; that it ends is what this test waits for


def test_a_program_that_ended_is_reported_with_its_last_words(tmp_path: Path) -> None:
    with running("brief", [sys.executable, "-c", "raise SystemExit('no such file')"], tmp_path) as process:
        process.wait()

        with pytest.raises(StartError, match=r"brief ended with status 1\n  no such file"):
            process.check()


def test_waiting_for_a_port_ends_when_somebody_listens() -> None:
    with listening() as listener:
        wait_listening(target(listener))


def test_waiting_for_a_port_ends_with_the_program_that_should_have_opened_it(tmp_path: Path) -> None:
    with (
        running("brief", [sys.executable, "-c", "raise SystemExit(3)"], tmp_path) as process,
        pytest.raises(StartError, match="status 3"),
    ):
        wait_listening("127.0.0.1:1", process)


def test_the_output_of_a_load_generator_is_all_that_it_said() -> None:
    program = "import sys; print('measured'); print('warned', file=sys.stderr); sys.exit(1)"

    printed = output_of([sys.executable, "-c", program], seconds=1)

    assert sorted(printed.split()) == ["measured", "warned"]


def test_a_load_generator_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PATIENCE", 0.1)

    with pytest.raises(StartError, match="did not end"):
        output_of([sys.executable, "-c", "import time; time.sleep(600)"], seconds=0)
