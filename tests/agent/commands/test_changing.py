"""How files are put in place: what happens when the disk or the clock is against it."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from agent.commands import changing
from agent.past.state_change import StateChange, check_untouched
from reconcile.together import Change, replace_together
from tests.support.operated import Operated, operated

APPLY = ("apply", "new.yaml", "--to", "gateway.yaml", "--confirm-within", "60s")


@pytest.fixture
def gateway(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Operated]:
    """It runs with the tunnel a; b is to be applied."""
    with operated(tmp_path, capsys) as place:
        place.write("a")
        place.write("b", name="new.yaml")
        with place.running():
            yield place


def test_a_disk_that_is_full_changes_nothing_and_leaves_nothing_to_confirm(
    gateway: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(directory: Path, changes: Sequence[Change]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    old = gateway.state.read_text()
    with monkeypatch.context() as patched:
        patched.setattr(changing, "replace_together", full)
        status, _, err = gateway.types(*APPLY)

    assert status == 1
    assert (
        "gateway.yaml cannot be replaced: the disk is full: free some space, then try again; nothing" in err
    )
    assert gateway.state.read_text() == old
    assert gateway.left() == set()
    assert gateway.types("confirm")[0] == 1


def test_whoever_puts_the_file_in_place_when_the_time_is_over_takes_it_away_again(
    gateway: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a laptop has slept at the wrong moment."""
    old = gateway.state.read_text()

    def late(directory: Path, changes: Sequence[Change]) -> None:
        monkeypatch.setattr(changing, "replace_together", replace_together)
        assert gateway.types("rollback")[0] == 0
        replace_together(directory, changes)

    monkeypatch.setattr(changing, "replace_together", late)
    status, _, err = gateway.types(*APPLY)

    assert status == 1
    assert "the time to confirm was over before the files were in place; they are as before" in err
    assert gateway.state.read_text() == old


def test_a_file_that_is_changed_in_between_is_not_overwritten(
    gateway: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit(change: StateChange) -> None:
        gateway.state.write_text(gateway.text("c"))
        check_untouched(change)

    monkeypatch.setattr(changing, "check_untouched", edit)
    status, _, err = gateway.types(*APPLY)

    assert status == 1
    assert "has just been changed by somebody else: look at it, then try again" in err
    assert gateway.state.read_text() == gateway.text("c")


def test_an_agent_that_goes_away_is_told_with_whether_the_file_is_in_place(
    gateway: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    def place_and_stop(directory: Path, changes: Sequence[Change]) -> None:
        replace_together(directory, changes)
        (gateway.directory / "gateway.sock").unlink()

    monkeypatch.setattr(changing, "replace_together", place_and_stop)
    status, _, err = gateway.types("apply", "new.yaml", "--to", "gateway.yaml")

    assert status == 1
    assert "gateway.yaml is in place, but no agent runs at " in err
    assert gateway.state.read_text() == gateway.text("b")


def test_what_a_command_has_left_that_died_is_ended_before_anything_else_is_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with operated(tmp_path, capsys) as place:
        directory = place.directory / "sites.d"
        directory.mkdir()
        base = place.text("a").replace("pki/", "../pki/")
        fragments = {"10-base.yaml": base, "20-more.yaml": place.fragment()}
        for name, text in fragments.items():
            (directory / name).write_text(text)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("reconcile.together._carry_out", die)
            with pytest.raises(InterruptedError):
                replace_together(
                    directory,
                    [
                        Change(name=name, before=text.encode(), after=f"{text}# new\n".encode())
                        for name, text in fragments.items()
                    ],
                )
        (place.directory / "new.yaml").write_text(place.fragment("b"))
        status, _, err = place.types(
            "apply", "new.yaml", "--to", "sites.d/20-more.yaml", "--state", "sites.d", "--offline"
        )

        assert (status, err) == (0, "")
        assert {path.name: path.read_text() for path in directory.iterdir()} == {
            "10-base.yaml": f"{base}# new\n",
            "20-more.yaml": place.fragment("b"),
        }


def die(*arguments: object) -> None:
    raise InterruptedError
