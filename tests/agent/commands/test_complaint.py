"""What a person reads when a command fails."""

from __future__ import annotations

import pytest

from agent.commands.complaint import complain
from schemas.errors import Place, Problem, StateError, TidegateError


def said(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    status = complain(error)
    out, err = capsys.readouterr()
    assert out == ""
    return status, err.splitlines()


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(TidegateError("the port is taken:\nstop nginx"), capsys) == (
        1,
        ["tidegate: error: the port is taken: stop nginx"],
    )


def test_the_problems_of_a_state_come_before_it_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    problem = Problem(Place("gateway.yaml", 3, 5), 'unknown key "lisen"')

    status, lines = said(StateError([problem, problem]), capsys)

    assert status == 1
    assert lines[:2] == ['gateway.yaml:3:5: unknown key "lisen"'] * 2
    assert lines[2].startswith("tidegate: error: the state has 2 problems")


def test_an_error_of_the_system_names_its_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(PermissionError(13, "Permission denied", "/x"), capsys) == (
        1,
        ["tidegate: error: /x: Permission denied"],
    )


def test_ctrl_c_needs_no_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(KeyboardInterrupt(), capsys) == (130, [])


def test_a_group_is_told_one_by_one_and_each_thing_once(capsys: pytest.CaptureFixture[str]) -> None:
    group = BaseExceptionGroup(
        "", [TidegateError("one"), ExceptionGroup("", [TidegateError("two"), TidegateError("one")])]
    )

    assert said(group, capsys) == (1, ["tidegate: error: one", "tidegate: error: two"])


def test_a_bug_is_called_one_and_shows_no_traceback_unless_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, lines = said(KeyError("x"), capsys)
    assert (status, len(lines)) == (1, 1)
    assert "this is a bug in Tidegate" in lines[0]
    assert "TIDEGATE_TRACEBACK=1" in lines[0]

    monkeypatch.setenv("TIDEGATE_TRACEBACK", "1")
    status, lines = said(KeyError("x"), capsys)
    assert lines[0] == "KeyError: 'x'"
    assert len(lines) == 2
