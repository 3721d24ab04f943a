"""``tidegate reload``: the exit status and what is said, by what came of it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.reload_report import ReloadReport
from tests.support.agents import running, tidegate
from tests.support.site import local_ports
from tests.support.states import write_gateway, write_keys


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """The state file of a gateway that runs."""
    write_keys(tmp_path)
    control, public = local_ports(2)
    state = write_gateway(tmp_path, control=control, public=public)
    with running("gateway", state):
        yield state


def test_a_file_that_is_in_force_is_one_line_and_status_0(state: Path) -> None:
    result = tidegate("reload", directory=state.parent)

    assert (result.returncode, result.stdout, result.stderr) == (0, "generation 1 is in force\n", "")


def test_every_problem_is_a_line_and_status_1_while_the_state_before_is_in_force(state: Path) -> None:
    good = state.read_text()
    state.write_text(good.replace("service: web", "servise: web"))

    refused = tidegate("reload", "--state", state.name, directory=state.parent)
    as_json = tidegate("reload", "--json", directory=state.parent)
    state.write_text(good)
    mended = tidegate("reload", directory=state.parent)

    *problems, last = refused.stderr.splitlines()
    assert (refused.returncode, refused.stdout) == (1, "")
    assert all(line.startswith("gateway.yaml:") for line in problems)
    assert any('unknown key "servise"' in line for line in problems)
    assert last.startswith(
        "tidegate: error: the state has 1 problem and is not used, generation 1 still counts"
    )
    assert (as_json.returncode, as_json.stderr) == (1, refused.stderr)
    assert json.loads(as_json.stdout)["format_version"] == 1
    assert ReloadReport.model_validate_json(as_json.stdout).accepted is False
    assert mended.returncode == 0


def test_a_port_that_is_taken_is_named_and_tried_again_by_the_next_reload(state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with state.open("a") as file:
            file.write(f'  - {{name: more, listen: "127.0.0.1:{port}", client: homelab, service: web}}\n')
        failed = tidegate("reload", "--socket", "gateway.sock", directory=state.parent)
    mended = tidegate("reload", directory=state.parent)

    first, last = failed.stderr.splitlines()
    assert failed.returncode == 1
    assert first.startswith(f"listener 127.0.0.1:{port}: 127.0.0.1:{port} is taken by another program")
    assert last == (
        "tidegate: error: generation 2 is accepted and not in force as a whole: "
        "mend what failed, then try again; it is also tried again by itself"
    )
    assert (mended.returncode, mended.stdout) == (0, "generation 2 is in force\n")
