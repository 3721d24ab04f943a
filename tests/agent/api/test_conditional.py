"""Which state a caller knows, read from the headers of its request."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from starlette.requests import Request

from agent.api.conditional import expected_digests, is_known, stale, tag
from agent.api.problems import ApiError


def request(*headers: tuple[str, str]) -> Request:
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    return Request({"type": "http", "headers": encoded})


@pytest.mark.parametrize(
    ("headers", "digests"),
    [
        (['"ab"'], {"ab"}),
        (['"ab", "cd"'], {"ab", "cd"}),
        (['"ab"', '"cd"'], {"ab", "cd"}),
        ([' "ab" ,"cd"'], {"ab", "cd"}),
        (['W/"ab"'], set()),
        (['""'], {""}),
        (["*"], None),
        ([" * "], None),
    ],
)
def test_if_match_is_read_as_the_standard_has_it(headers: list[str], digests: set[str] | None) -> None:
    """A weak tag says only that two things mean the same, which is not enough to overwrite one."""
    found = expected_digests(request(*(("If-Match", header) for header in headers)), needed=True)

    assert found == digests


@pytest.mark.parametrize(
    "header", ["ab", "", '"ab', "*, *", '"a"b"', '"a" "b"', '"a",', "'ab'", '"a"' * 5000]
)
def test_what_is_no_tag_is_refused(header: str) -> None:
    with pytest.raises(ApiError, match="send the ETag as it came") as caught:
        expected_digests(request(("If-Match", header)), needed=False)

    assert caught.value.status is HTTPStatus.BAD_REQUEST


def test_without_the_header_it_is_refused_where_it_is_needed() -> None:
    assert expected_digests(request(), needed=False) is None
    with pytest.raises(ApiError, match="If-Match is missing") as caught:
        expected_digests(request(), needed=True)
    assert caught.value.status is HTTPStatus.PRECONDITION_REQUIRED


def test_whoever_has_the_state_is_known_also_by_a_weak_tag() -> None:
    assert is_known(request(("If-None-Match", 'W/"ab"')), "ab")
    assert is_known(request(("If-None-Match", "*")), "ab")
    assert not is_known(request(("If-None-Match", '"cd"')), "ab")
    assert not is_known(request(), "ab")


def test_a_stale_state_is_told_with_the_tag_of_the_new_one() -> None:
    assert stale("ab").headers == {"ETag": tag("ab")}
    assert stale("ab").status is HTTPStatus.PRECONDITION_FAILED
