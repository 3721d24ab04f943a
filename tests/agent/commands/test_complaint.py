"""What a person reads when a command fails."""

from __future__ import annotations

import pytest

from agent.commands.complaint import ToldError, complain
from schemas.errors import Place, Problem, StateError, TidegateError
from schemas.failure_report import FailureReport


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


JSON = ("plan", "new.yaml", "--json")


def test_with_json_the_failure_is_one_object_and_people_read_the_same_as_ever(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clash = Problem(Place("new.yaml", 3, 5), "taken", Place("new.yaml", 1, 2))
    error = StateError([clash, Problem(None, "no place")])
    _, words = said(error, capsys)

    assert complain(error, arguments=JSON) == 1
    out, err = capsys.readouterr()
    report = FailureReport.model_validate_json(out)

    assert err.splitlines() == words
    assert f"tidegate: error: {report.error}" == words[-1]
    first, second = report.problems
    assert (report.format_version, out.count("\n")) == (1, 1)
    assert (first.file, first.line, first.col, first.message) == ("new.yaml", 3, 5, "taken")
    assert (first.text, second.file, second.text) == (str(clash), None, "no place")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (TidegateError("no agent runs"), 1, "no agent runs"),
        (PermissionError(13, "Permission denied", "/x"), 1, "/x: Permission denied"),
        (ExceptionGroup("", [TidegateError("one"), TidegateError("two")]), 1, "one; two"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_with_json_there_is_always_a_problem_to_be_read(
    error: BaseException, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert complain(error, arguments=JSON) == status

    report = FailureReport.model_validate_json(capsys.readouterr().out)
    assert report.error == message
    assert "; ".join(problem.message for problem in report.problems) == message


def test_of_what_a_report_has_told_there_is_no_second_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert complain(ToldError("not in force"), arguments=JSON) == 1

    assert capsys.readouterr() == ("", "tidegate: error: not in force\n")


def test_a_file_that_is_called_like_the_option_asks_for_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    complain(TidegateError("gone"), arguments=("plan", "--", "--json"))

    assert capsys.readouterr().out == ""
