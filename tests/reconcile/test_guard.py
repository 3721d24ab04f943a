"""Which changes are more likely an accident than a wish."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.guard import check_truncated, guard
from schemas.errors import Place
from schemas.state import State

from .samples import client_state, gateway_state, tunnel

BLOG = tunnel("blog", "0.0.0.0:443")
MAIL = tunnel("mail", "0.0.0.0:25")
WIKI = tunnel("wiki", "0.0.0.0:8443", declared_by="homelab")


@pytest.mark.parametrize(
    ("before", "lost"),
    [
        (gateway_state(BLOG), "its only tunnel"),
        (gateway_state(BLOG, MAIL), "all of its 2 tunnels"),
        (gateway_state(BLOG, WIKI), "its only tunnel"),
    ],
)
def test_a_state_that_removes_every_tunnel_is_refused(before: State, lost: str) -> None:
    problem = guard(before, gateway_state())

    assert problem is not None
    assert problem.message == f"the new state removes {lost}; if that is meant, write allow_empty: true"


def test_tunnels_from_the_api_do_not_hide_that_the_file_has_lost_its_own() -> None:
    assert guard(gateway_state(BLOG, WIKI), gateway_state(WIKI)) is not None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, gateway_state()),
        (gateway_state(), gateway_state()),
        (gateway_state(), gateway_state(BLOG)),
        (gateway_state(BLOG, MAIL), gateway_state(MAIL)),
        (gateway_state(BLOG), gateway_state(MAIL)),
        (gateway_state(BLOG), gateway_state(allow_empty=True)),
        (gateway_state(WIKI), gateway_state()),
        (gateway_state(BLOG), client_state()),
        (client_state(), client_state()),
        (client_state("web", "smtp"), client_state("web")),
    ],
)
def test_any_other_change_is_let_through(before: State | None, after: State) -> None:
    assert guard(before, after) is None


def test_a_client_that_loses_every_service_is_refused_too() -> None:
    problem = guard(client_state("web", "smtp"), client_state())

    assert problem is not None
    assert "all of its 2 services" in problem.message


TEXT = "tidegate: 1\nname: größe\nend: 12\n".encode()


def test_a_file_that_stops_in_the_middle_of_a_line_is_refused_at_that_place() -> None:
    problem = check_truncated(TEXT, "tidegate: 1\nname: grö".encode(), name="gw.yaml")

    assert problem is not None
    assert problem.place == Place("gw.yaml", 2, 10)
    assert "allow_empty: true" in problem.message


def test_a_number_that_has_lost_its_last_digits_is_refused() -> None:
    assert check_truncated(TEXT, TEXT[:-2], name="gw.yaml") is not None


@pytest.mark.parametrize(
    "after",
    [TEXT[:11], TEXT + b"more", b"another: text"],
    ids=["at the end of a line", "longer", "other"],
)
def test_a_file_whose_last_line_has_lost_its_end_is_refused(after: bytes) -> None:
    """Half a copy of a changed file is no beginning of the old one; what it lacks is the last newline."""
    assert check_truncated(TEXT, after, name="gw.yaml") is not None


@pytest.mark.parametrize(
    "after",
    [TEXT, TEXT[:-1], TEXT[:12], b"", TEXT + b"more\n", b"another: text\n"],
    ids=["same", "no newline at the end", "whole lines", "empty", "longer", "other"],
)
def test_a_file_that_was_edited_is_let_through(after: bytes) -> None:
    assert check_truncated(TEXT, after, name="gw.yaml") is None


def test_whoever_writes_no_line_end_is_not_asked_for_one() -> None:
    """Some programs end no last line; then only a beginning that breaks off is refused."""
    assert check_truncated(b"a: 1\nb: 22", b"a: 1\nb: 3", name="gw.yaml") is None
    assert check_truncated(b"a: 1\nb: 22", b"a: 1\nb: 2", name="gw.yaml") is not None


def test_a_file_seen_for_the_first_time_cannot_be_half_of_anything() -> None:
    assert check_truncated(None, b"tideg", name="gw.yaml") is None


def test_lines_that_end_in_carriage_return_and_newline_end_there_too() -> None:
    before = b"a: 1\r\nb: 2\r\n"

    assert check_truncated(before, b"a: 1\r\n", name="gw.yaml") is None
    assert check_truncated(before, b"a: 1\r\nb:", name="gw.yaml") is not None


@given(st.binary(max_size=40), st.integers(min_value=0, max_value=40))
def test_a_cut_is_never_refused_behind_a_line_end_and_always_within_a_line(text: bytes, length: int) -> None:
    cut = text[:length]
    refused = check_truncated(text, cut, name="x") is not None
    if not cut or cut == text or cut[-1:] in (b"\n", b"\r"):
        assert not refused
    elif text[len(cut) : len(cut) + 1] not in (b"\n", b"\r"):
        assert refused
