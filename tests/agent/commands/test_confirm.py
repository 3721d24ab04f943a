"""``tidegate confirm``, and changes that wait for it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.apply_report import ApplyReport
from tests.support.operated import Operated, operated


@pytest.fixture
def gateway(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Operated]:
    """It runs with the tunnel a."""
    with operated(tmp_path, capsys) as place:
        place.write("a")
        with place.running():
            yield place


def test_what_is_confirmed_stays(gateway: Operated) -> None:
    new = gateway.write("b", name="new.yaml")
    status, out, _ = gateway.types("apply", "new.yaml", "--to", "gateway.yaml", "--confirm-within", "60s")
    assert status == 0
    assert "generation 2 is in force; keep it with tidegate confirm by " in out

    assert gateway.types("confirm") == (0, "the change of gateway.yaml was confirmed\n", "")
    assert gateway.state.read_text() == new
    assert gateway.left() == set()
    # Whoever lost the answer may ask again.
    assert gateway.types("confirm") == (0, "the change of gateway.yaml was confirmed\n", "")


def test_another_change_waits_until_this_one_is_decided(gateway: Operated) -> None:
    gateway.write("b", name="new.yaml")
    gateway.write("c", name="other.yaml")
    gateway.types("apply", "new.yaml", "--to", "gateway.yaml", "--confirm-within", "60s")

    status, _, err = gateway.types("apply", "other.yaml", "--to", "gateway.yaml")
    assert status == 1
    assert "keep the new one with tidegate confirm, or undo it with tidegate rollback; nothing was" in err
    assert gateway.types("confirm")[0] == 0
    assert gateway.types("apply", "other.yaml", "--to", "gateway.yaml")[0] == 0


def test_rollback_undoes_it_at_once(gateway: Operated) -> None:
    old = gateway.state.read_text()
    gateway.write("b", name="new.yaml")
    gateway.types("apply", "new.yaml", "--to", "gateway.yaml", "--confirm-within", "60s")

    status, out, err = gateway.types("rollback")
    first, *outcomes, last = out.splitlines()
    assert (status, err) == (0, "")
    assert first.startswith("the change of gateway.yaml was undone, for somebody did not want to keep it")
    assert [line.partition(":")[0] for line in outcomes] == ["+ a", "- b"]
    assert last == "gateway.yaml is in place, and generation 3 is in force"
    assert gateway.state.read_text() == old
    assert gateway.left() == set()


def test_a_rollback_is_no_success_while_the_old_state_is_not_in_force(gateway: Operated) -> None:
    """Somebody else has taken the port that the change gave up."""
    gateway.write("b", name="new.yaml")
    gateway.types("apply", "new.yaml", "--to", "gateway.yaml", "--confirm-within", "60s")
    with socket.create_server(("127.0.0.1", gateway.port("a"))):
        status, out, err = gateway.types("rollback", "--json")

    report = ApplyReport.model_validate_json(out)
    assert (status, report.accepted, report.in_force) == (1, True, False)
    assert report.files == ("gateway.yaml",)
    assert [failed.resource for failed in report.failed] == [f"listener 127.0.0.1:{gateway.port('a')}"]
    assert "gateway.yaml is in place, and generation 3 is not in force as a whole: mend what failed" in err


def test_a_change_that_would_move_the_socket_cannot_wait(gateway: Operated) -> None:
    old = gateway.state.read_text()
    (gateway.directory / "new.yaml").write_text(old.replace("  name:", "  socket: other.sock\n  name:"))
    status, _, err = gateway.types("apply", "new.yaml", "--to", "gateway.yaml", "--confirm-within", "60s")

    assert status == 1
    assert "change that without --confirm-within; nothing was changed" in err
    assert gateway.state.read_text() == old


def test_without_a_change_there_is_nothing_to_confirm(gateway: Operated) -> None:
    status, _, err = gateway.types("confirm", "--state", "gateway.yaml")

    assert (status, err) == (1, "tidegate: error: no change is waiting to be confirmed\n")
