"""What the newest generation of a client has changed: who asks afterwards hears whether it works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.commands.demo_world import free_ports
from schemas.reload_report import ReloadReport
from tests.support.agents import running
from tests.support.operated import Operated, operated
from tests.support.states import write_client


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Operated]:
    """A client runs whose gateway is away; new.yaml is its file with a second one that is not there."""
    with operated(tmp_path, capsys) as place:
        state = write_client(tmp_path, control=place.control)
        gateway, second = f"127.0.0.1:{place.control}", f"127.0.0.1:{free_ports(1)[0]}"
        text = state.read_text()
        assert text.count(gateway) == 1
        (tmp_path / "new.yaml").write_text(text.replace(f'"{gateway}"', f'["{gateway}", "{second}"]'))
        with running("client", state):
            yield place


APPLY = ("apply", "new.yaml", "--to", "client.yaml")
CLIENT = ("--state", "client.yaml")


def test_a_gateway_that_was_away_before_is_none_of_it(place: Operated) -> None:
    assert place.types("reload", *CLIENT) == (0, "generation 1 is in force\n", "")
    assert place.types("apply", "client.yaml", "--to", "client.yaml")[0] == 0


def test_whoever_tries_again_hears_the_same_as_the_first_time(place: Operated) -> None:
    first, again = place.types(*APPLY), place.types(*APPLY)
    status, out, err = place.types("reload", *CLIENT, "--json")
    report = ReloadReport.model_validate_json(out)

    assert (first[0], again[0], status) == (1, 1, 1)
    assert "client.yaml is like this already, and generation 2 is not in force as a whole" in again[2]
    assert (report.accepted, report.in_force, len(report.failed)) == (True, False, 1)
    assert "not reached: nothing listens there" in report.failed[0].message
    assert report.failed[0].message in err

    assert place.types("rollback", *CLIENT)[0] == 0
    assert place.types("reload", *CLIENT)[0] == 0


def test_who_confirms_what_does_not_work_keeps_it_and_is_told(place: Operated) -> None:
    place.types(*APPLY, "--confirm-within", "60s")
    status, out, err = place.types("confirm", *CLIENT)

    assert (status, out) == (0, "the change of client.yaml was confirmed\n")
    problem, warning = err.splitlines()
    assert "not reached: nothing listens there" in problem
    assert warning == "tidegate: warning: generation 2 is not in force as a whole: mend what failed"
