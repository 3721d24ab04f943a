"""A visitor's first bytes lead to one decision, the same however they are cut, and never to a hang."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.gateway.routing import (
    Decision,
    NeedMore,
    Reason,
    Refused,
    Routed,
    RouteTable,
    TrafficKind,
    classify,
)
from tests.support.hellos import (
    PADDING,
    POST_QUANTUM,
    build_hello,
    in_records,
    message_of,
    python_hello,
    server_name,
)

from .test_route_table import route

BLOG, STAR, DEFAULT = route("blog", "blog.example.com"), route("star", "*.example.com"), route("mail")
RAW_PORT = RouteTable([DEFAULT])
NAMED_PORT = RouteTable([BLOG, STAR])
MIXED_PORT = RouteTable([BLOG, STAR, DEFAULT])
PORTS = pytest.mark.parametrize("table", [NAMED_PORT, MIXED_PORT], ids=["named", "mixed"])

HELLO = build_hello([server_name(b"Blog.Example.com")])
STRANGE_HELLO = build_hello([server_name(b"other.test")])
NAMELESS_HELLO = build_hello([])
BROKEN_HELLO = build_hello([server_name(b"no name")])
REQUEST = b"GET / HTTP/1.1\r\nHost: Blog.Example.com:80\r\n\r\n"
STRANGE_REQUEST = b"GET / HTTP/1.1\r\nHost: other.test\r\n\r\n"
NAMELESS_REQUEST = b"GET / HTTP/1.0\r\n\r\n"
BROKEN_REQUEST = b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n"
TLS, HTTP, RAW = TrafficKind.TLS, TrafficKind.HTTP, TrafficKind.RAW


def decide(buffer: bytes, table: RouteTable, *, eof: bool = False, timed_out: bool = False) -> Decision:
    return classify(buffer, table, eof=eof, timed_out=timed_out)


def trickle(buffer: bytes, table: RouteTable) -> Decision:
    """The first decision when the bytes come one by one, if there is one."""
    decisions = [decide(buffer[:end], table) for end in range(len(buffer) + 1)]
    return next((found for found in decisions if not isinstance(found, NeedMore)), decisions[-1])


@pytest.mark.parametrize("buffer", [b"", HELLO, REQUEST, b"\0"])
def test_a_port_without_hostnames_never_looks_at_what_a_visitor_says(buffer: bytes) -> None:
    """So services that speak first work at once."""
    assert decide(buffer, RAW_PORT) == Routed(route=DEFAULT, kind=RAW, name=None)
    assert decide(buffer, RouteTable([])) == Refused(kind=RAW, reason=Reason.NO_ROUTE, name=None)


@PORTS
def test_a_name_that_matches_leads_to_its_route_whether_there_is_a_default_or_not(table: RouteTable) -> None:
    for hello in (HELLO, POST_QUANTUM, python_hello("blog.example.com"), in_records(message_of(HELLO), 3)):
        assert decide(hello, table) == Routed(route=BLOG, kind=TLS, name="blog.example.com")
    assert decide(REQUEST, table) == Routed(route=BLOG, kind=HTTP, name="blog.example.com")
    request = b"CONNECT a.b.example.com:443 HTTP/1.1\r\nHost: blog.example.com\r\n\r\n"
    assert decide(request, table) == Routed(route=STAR, kind=HTTP, name="a.b.example.com")


UNSERVED = pytest.mark.parametrize(
    ("buffer", "kind", "reason", "name"),
    [
        (STRANGE_HELLO, TLS, Reason.NO_ROUTE, "other.test"),
        (NAMELESS_HELLO, TLS, Reason.NO_ROUTE, None),
        (BROKEN_HELLO, TLS, Reason.MALFORMED, None),
        (STRANGE_REQUEST, HTTP, Reason.NO_ROUTE, "other.test"),
        (NAMELESS_REQUEST, HTTP, Reason.NO_ROUTE, None),
        (BROKEN_REQUEST, HTTP, Reason.MALFORMED, None),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP, Reason.MALFORMED, None),
        (b"SSH-2.0-OpenSSH_9.2\r\n", RAW, Reason.NO_ROUTE, None),
        (b"EHLO a.test\r\n", RAW, Reason.NO_ROUTE, None),
        (b"\x16\x02", RAW, Reason.NO_ROUTE, None),
        (b"\0", RAW, Reason.NO_ROUTE, None),
        (b"GET /" + b"x" * 2**16, HTTP, Reason.MALFORMED, None),
        (build_hello([(PADDING, bytes(2**16 - 10))]), TLS, Reason.MALFORMED, None),
    ],
)


@UNSERVED
def test_what_no_hostname_takes_goes_to_the_default_route_at_once(
    buffer: bytes, kind: TrafficKind, reason: Reason, name: str | None
) -> None:
    assert decide(buffer, MIXED_PORT) == Routed(route=DEFAULT, kind=kind, name=name)


@UNSERVED
def test_what_no_hostname_takes_is_refused_where_there_is_no_default_route(
    buffer: bytes, kind: TrafficKind, reason: Reason, name: str | None
) -> None:
    found = decide(buffer, NAMED_PORT)

    assert found == Refused(kind=kind, reason=reason, name=name)
    assert isinstance(found, Refused)
    assert found.detail
    assert "\n" not in found.detail


def test_the_first_byte_that_is_neither_tls_nor_http_decides() -> None:
    assert decide(b"SSH-", MIXED_PORT) == NeedMore(at_least=5)
    assert decide(b"SSH-2", MIXED_PORT) == Routed(route=DEFAULT, kind=RAW, name=None)


UNFINISHED = pytest.mark.parametrize(
    ("buffer", "kind"),
    [
        (b"", RAW),
        (b"\x16", RAW),
        (b"\x16\x03", TLS),
        (HELLO[:-1], TLS),
        (b"G", RAW),
        (b"GET ", RAW),
        (b"GET /", HTTP),
        (REQUEST[:-1], HTTP),
    ],
)


@UNFINISHED
@PORTS
def test_what_is_not_finished_is_waited_for(buffer: bytes, kind: TrafficKind, table: RouteTable) -> None:
    found = decide(buffer, table)

    assert isinstance(found, NeedMore)
    assert found.at_least > len(buffer)


@UNFINISHED
def test_a_visitor_that_is_slow_or_silent_gets_the_default_route(buffer: bytes, kind: TrafficKind) -> None:
    expected = Routed(route=DEFAULT, kind=kind, name=None)
    assert expected == decide(buffer, MIXED_PORT, timed_out=True)
    assert expected == decide(buffer, MIXED_PORT, eof=True)


@UNFINISHED
def test_without_a_default_route_a_visitor_that_does_not_finish_is_refused(
    buffer: bytes, kind: TrafficKind
) -> None:
    late = Refused(kind=kind, reason=Reason.TIMED_OUT, name=None)
    cut = Refused(kind=kind, reason=Reason.MALFORMED, name=None)
    assert late == decide(buffer, NAMED_PORT, timed_out=True)
    assert cut == decide(buffer, NAMED_PORT, eof=True)
    assert cut == decide(buffer, NAMED_PORT, eof=True, timed_out=True)


@pytest.mark.parametrize("buffer", [HELLO, REQUEST])
@PORTS
def test_a_visitor_that_said_all_and_then_ended_is_served(buffer: bytes, table: RouteTable) -> None:
    """An upload may end its side right behind its request."""
    assert decide(buffer, table) == decide(buffer, table, eof=True, timed_out=True)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_will_do_and_none_is_changed(
    kind: type[bytes] | type[bytearray] | type[memoryview],
) -> None:
    for start in (HELLO, REQUEST, b"\0"):
        buffer = kind(start)
        assert decide(start, MIXED_PORT) == classify(buffer, MIXED_PORT, eof=False, timed_out=False)
        assert bytes(buffer) == start


def test_whoever_waits_for_what_is_asked_gets_the_same_decision() -> None:
    for hello in (
        POST_QUANTUM,
        in_records(message_of(POST_QUANTUM), 1),
        in_records(message_of(POST_QUANTUM), 90),
    ):
        have = 0
        while isinstance(found := decide(hello[:have], NAMED_PORT), NeedMore):
            have = found.at_least
        assert found == decide(hello, NAMED_PORT)


STARTS = st.sampled_from(
    [b"", HELLO, HELLO[:60], STRANGE_HELLO, REQUEST, REQUEST[:30], STRANGE_REQUEST, b"SSH-"]
)


@given(start=STARTS, tail=st.binary(max_size=20), broken=st.integers(0, 200), byte=st.integers(0, 255))
@PORTS
def test_every_visitor_is_decided_alike_byte_by_byte_and_at_once(
    table: RouteTable, start: bytes, tail: bytes, broken: int, byte: int
) -> None:
    changed = bytearray(start + tail)
    if broken < len(changed):
        changed[broken] = byte
    buffer = bytes(changed)

    found = decide(buffer, table)
    assert found == trickle(buffer, table)
    for eof, timed_out in ((True, False), (False, True), (True, True)):
        at_the_end = decide(buffer, table, eof=eof, timed_out=timed_out)
        assert not isinstance(at_the_end, NeedMore)
        assert isinstance(found, NeedMore) or found == at_the_end
        assert table.default is None or isinstance(at_the_end, Routed)
