"""Errors as their reader gets them."""

from __future__ import annotations

import json
import pickle
from http import HTTPStatus

from agent.api.problems import MAX_PROBLEMS, ApiError, RequestProblem
from schemas.errors import Place, Problem


def test_a_problem_of_the_body_is_named_as_its_sender_would() -> None:
    problem = RequestProblem(path=(2, "ListenPort"), place=Place("request body", 4, 9), message="wrong")

    assert str(problem) == "[2].ListenPort: wrong"
    assert problem.to_json() == {
        "text": "[2].ListenPort: wrong",
        "message": "wrong",
        "pointer": "/2/ListenPort",
        "file": "request body",
        "line": 4,
        "col": 9,
    }


def test_a_problem_of_a_file_keeps_both_places() -> None:
    problem = RequestProblem.of(Problem(Place("a.yaml", 1, 2), "wrong", see=Place("b.yaml", 3, 4)))

    assert str(problem) == "a.yaml:1:2: wrong (see b.yaml:3:4)"
    assert problem.to_json()["pointer"] is None


def test_a_pointer_escapes_what_a_key_may_hold() -> None:
    assert RequestProblem(path=("a/b~c",), message="").to_json()["pointer"] == "/a~1b~0c"


def test_an_error_without_problems_is_one_by_itself() -> None:
    assert ApiError(HTTPStatus.NOT_FOUND, "not here").to_json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "not here",
        "problems": [
            {
                "text": "not here",
                "message": "not here",
                "pointer": None,
                "file": None,
                "line": None,
                "col": None,
            }
        ],
    }


def test_an_answer_does_not_grow_without_end() -> None:
    error = ApiError(HTTPStatus.BAD_REQUEST, "bad", [RequestProblem(message="x")] * (MAX_PROBLEMS + 500))

    assert len(error.problems) == MAX_PROBLEMS + 1
    assert str(error.problems[-1]) == "and more problems; mend these first"
    json.dumps(error.to_json())


def test_an_error_is_the_same_in_another_process() -> None:
    problem = RequestProblem(path=(1,), message="wrong")
    error = ApiError(HTTPStatus.CONFLICT, "bad", [problem], headers={"ETag": '"a"'})

    again = pickle.loads(pickle.dumps(error))

    assert isinstance(again, ApiError)
    assert (again.to_json(), again.headers) == (error.to_json(), error.headers)


def test_problems_that_are_not_told_are_not_worked_out() -> None:
    numbers = iter(range(MAX_PROBLEMS + 500))

    ApiError(HTTPStatus.BAD_REQUEST, "bad", (RequestProblem(message=str(number)) for number in numbers))

    assert next(numbers) == MAX_PROBLEMS + 1  # the one that shows that there are more
