"""A name that leaves the reader is one that DNS could know, in one spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.wire.errors import RemoteProtocolError
from transport.wire.visitor_name import MAX_NAME, read_visitor_name

LONGEST = ".".join(["a" * 49] * 5 + ["abc"])


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"Blog.Example.COM", "blog.example.com"),
        (b"blog.example.com.", "blog.example.com"),
        (b"localhost", "localhost"),
        (b"xn--bcher-kva.example", "xn--bcher-kva.example"),
        (b"_acme-challenge.example", "_acme-challenge.example"),
        (b"192.0.2.1", "192.0.2.1"),
        (LONGEST.encode(), LONGEST),
        (LONGEST.encode() + b".", LONGEST),
    ],
)
def test_a_name_is_lower_case_and_without_the_dot_of_the_root(raw: bytes, name: str) -> None:
    assert name == read_visitor_name(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b".",
        b"..",
        b"a..b",
        b".a",
        b"a..",
        b"a b",
        b"a\n",
        b"a\0",
        b"*",
        b"a@b",
        b"a/b",
        b"a:1",
        b"\xc3\xbc",
    ],
)
def test_what_dns_cannot_know_is_refused(raw: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        read_visitor_name(raw)


def test_a_name_longer_than_dns_allows_is_refused() -> None:
    assert len(LONGEST) == MAX_NAME
    for raw in (b"x" + LONGEST.encode(), LONGEST.encode() + b"..", b"a." * MAX_NAME):
        with pytest.raises(RemoteProtocolError):
            read_visitor_name(raw)


@given(st.binary(max_size=300) | st.text("aZ0.-_*", max_size=300).map(str.encode))
def test_every_name_that_is_read_can_be_read_again_and_stays_the_same(raw: bytes) -> None:
    try:
        name = read_visitor_name(raw)
    except RemoteProtocolError:
        return
    assert name == read_visitor_name(name.encode())
    assert name == raw.decode().lower().removesuffix(".")
