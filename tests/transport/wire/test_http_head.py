"""A request names one host or none, in a way that no service reads differently; else it is refused."""

from __future__ import annotations

import http.client
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.wire.errors import RemoteProtocolError
from transport.wire.http_head import MAX_HEAD, HttpHead, looks_like_http, peek_http_head

PLAIN = b"GET /a?b=c HTTP/1.1\r\nHost: blog.example.com\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n"


def outcome(buffer: bytes) -> HttpHead | type[RemoteProtocolError] | None:
    try:
        return peek_http_head(buffer)
    except RemoteProtocolError:
        return RemoteProtocolError


def trickle(buffer: bytes) -> HttpHead | type[RemoteProtocolError] | None:
    """The first outcome other than None when the bytes come one by one."""
    prefixes = (outcome(buffer[:end]) for end in range(len(buffer) + 1))
    return next((found for found in prefixes if found is not None), None)


def host_of(request: bytes) -> str | None:
    found = peek_http_head(request)
    assert found is not None
    return found.host


def with_host(value: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\nHost:" + value + b"\r\n\r\n"


def with_target(target: bytes, *, method: bytes = b"GET", host: bytes = b"other.example") -> bytes:
    return method + b" " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"


def test_a_request_gives_its_method_target_and_host() -> None:
    assert peek_http_head(PLAIN) == HttpHead(method="GET", target="/a?b=c", host="blog.example.com")


def test_a_request_of_the_standard_library_is_read() -> None:
    class Wire(io.BytesIO):
        def sendall(self, data: bytes) -> None:
            self.write(data)

        def close(self) -> None:
            """Its content is read after the connection has closed it."""

    connection = http.client.HTTPConnection("Blog.Example.com", 8080)
    wire = connection.sock = Wire()
    connection.request("POST", "/form", body="a=b")

    expected = HttpHead(method="POST", target="/form", host="blog.example.com")
    assert expected == peek_http_head(wire.getvalue())


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_will_do_and_none_is_changed(
    kind: type[bytes] | type[bytearray] | type[memoryview],
) -> None:
    buffer = kind(PLAIN)

    assert peek_http_head(PLAIN) == peek_http_head(buffer)
    assert bytes(buffer) == PLAIN


@pytest.mark.parametrize("rest", [b"", b"body", b"\r\n\r\n", b"\nlone", b"x" * MAX_HEAD])
def test_what_follows_the_head_does_not_matter(rest: bytes) -> None:
    assert peek_http_head(PLAIN) == peek_http_head(PLAIN + rest)


def test_a_head_is_complete_with_its_empty_line_and_not_before() -> None:
    prefixes = [outcome(PLAIN[:end]) for end in range(len(PLAIN) + 1)]

    assert prefixes == [None] * len(PLAIN) + [peek_http_head(PLAIN)]


@pytest.mark.parametrize(
    ("value", "host"),
    [
        (b"blog.example.com", "blog.example.com"),
        (b"  Blog.Example.COM\t ", "blog.example.com"),
        (b"blog.example.com.", "blog.example.com"),
        (b"blog.example.com:8080", "blog.example.com"),
        (b"blog.example.com:", "blog.example.com"),  # RFC 3986 section 3.2.3: an empty port is legal
        (b"blog.example.com.:443", "blog.example.com"),
        (b"localhost", "localhost"),
        (b"192.0.2.1:80", "192.0.2.1"),
        (b"[2001:DB8::0:1]:80", "2001:db8::1"),
        (b"[::1]", "::1"),
        (b"", None),  # RFC 9112 section 3.2: when the target has no authority
    ],
)
def test_a_host_is_read_without_its_port_and_in_one_spelling(value: bytes, host: str | None) -> None:
    assert host == host_of(with_host(value))


@pytest.mark.parametrize(
    "value",
    [
        b"a.example b.example",
        b"a.example,b.example",
        b"a.example\0",
        b"a.example:80:80",
        b"a.example:http",
        b"a.example:65536",
        b":80",
        b"user@a.example",
        b"a.example/path",
        b"http://a.example",
        b"b\xc3\xbccher.example",
        b"%61.example",
        b"::1",
        b"[::1",
        b"[::1%25eth0]",
        b"[v1.x]",
        b"[]",
        b"..",
        b"a" * 300,
    ],
)
def test_a_host_that_is_none_is_refused(value: bytes) -> None:
    assert outcome(with_host(value)) is RemoteProtocolError
    assert outcome(with_target(b"http://a.example/", host=value)) is RemoteProtocolError


def test_the_name_of_the_host_field_may_be_written_in_any_case() -> None:
    assert host_of(b"GET / HTTP/1.1\r\nX: y\r\nhOST: a.example\r\nX-Host: b.example\r\n\r\n") == "a.example"


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"http://a.example", "a.example"),
        (b"http://A.Example:8080/path?query", "a.example"),
        (b"HTTPS://a.example?query", "a.example"),
        (b"http://[::1]:80/", "::1"),
        (b"/path", "other.example"),
        (b"//a.example/path", "other.example"),  # a path that begins with an empty segment
        (b"/http://a.example/", "other.example"),
        (b"/b\xc3\xbccher", "other.example"),
    ],
)
def test_the_host_of_an_absolute_target_wins_over_the_host_field(target: bytes, host: str) -> None:
    """RFC 9112 section 3.2.2."""
    assert host == host_of(with_target(target))


def test_connect_names_its_host_as_an_authority() -> None:
    assert host_of(with_target(b"A.example:443", method=b"CONNECT")) == "a.example"
    assert host_of(with_target(b"[::1]:443", method=b"CONNECT")) == "::1"
    for target in (b"a.example", b"a.example:", b":443", b"/", b"http://a.example/"):
        assert outcome(with_target(target, method=b"CONNECT")) is RemoteProtocolError


def test_an_asterisk_is_a_target_of_options_only() -> None:
    assert host_of(with_target(b"*", method=b"OPTIONS")) == "other.example"
    assert outcome(with_target(b"*")) is RemoteProtocolError


@pytest.mark.parametrize(
    "target", [b"a.example", b"a.example:80", b"path", b"?q", b"http://", b"http:///p", b"urn:x"]
)
def test_a_target_of_no_known_form_is_refused(target: bytes) -> None:
    assert outcome(with_target(target)) is RemoteProtocolError


def test_only_http_1_0_may_name_no_host() -> None:
    assert host_of(b"GET / HTTP/1.0\r\n\r\n") is None
    assert host_of(b"GET / HTTP/1.0\r\nHost: a.example\r\n\r\n") == "a.example"
    assert outcome(b"GET / HTTP/1.1\r\nAccept: */*\r\n\r\n") is RemoteProtocolError


@pytest.mark.parametrize(
    "fields",
    [
        b"Host: a.example\r\nHost: b.example\r\n",
        b"Host: a.example\r\nhost: a.example\r\n",  # RFC 9112 section 3.2: also the same one
        b"Host: a.example\r\n b.example\r\n",
        b"Host: a.example\r\nX: y\r\n\tz\r\n",
        b" Host: a.example\r\n",
        b"Host : a.example\r\n",
        b"Host\r\n",
        b": a.example\r\n",
        b"Host: a.example\r\nX: \0\r\n",
        b"Host: a.example\nX: y\r\n",
        b"Host: a.example\rX: y\r\n",
        b"X: y\nHost: a.example\r\n",
        b"H\xc3\xb6st: a.example\r\nHost: a.example\r\n",
    ],
)
def test_fields_that_two_readers_could_read_differently_are_refused(fields: bytes) -> None:
    request = b"GET / HTTP/1.1\r\n" + fields + b"\r\n"

    assert outcome(request) is RemoteProtocolError
    assert trickle(request) is RemoteProtocolError


@pytest.mark.parametrize(
    "start",
    [
        b"\x16",
        b"g",
        b" ",
        b"\r",
        b"\0",
        b"SSH-2",
        b"PING\r",
        b"GET\t",
        b"GET  ",
        b"GET /\0",
        b"GET /\r",  # HTTP/0.9
        b"EHLO a.example\r",
        b"USER anonymous\n",
        b"GET / x",
        b"GET / HTTX",
        b"A" * 33,
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1\r\nHost: a\n",
        b"GET / HTTP/1.1\r\nHost: a\rb",
        b"GET / HTTP/1.1 \r\n",
        b"GET / HTTP/2.0\r\n",
        b"GET / HTTP/0.9\r\n",
        b"GET / HTTP/1.10\r\n",
    ],
)
def test_what_is_no_request_is_refused_at_the_first_byte_that_shows_it(start: bytes) -> None:
    assert outcome(start[:-1]) is None
    assert outcome(start) is RemoteProtocolError
    assert outcome(start + b"\r\n\r\n") is RemoteProtocolError


def test_http_2_without_tls_is_refused_with_a_word_on_what_to_do() -> None:
    with pytest.raises(RemoteProtocolError, match=r"HTTP/2 without TLS .* use HTTP/1\.1, or TLS"):
        peek_http_head(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


def test_a_head_of_the_greatest_size_is_read_and_one_byte_more_is_refused() -> None:
    def request_of(size: int) -> bytes:
        head, tail = b"GET / HTTP/1.1\r\nHost: a.example\r\nX: ", b"\r\n\r\n"
        return head + b"x" * (size - len(head) - len(tail)) + tail

    assert host_of(request_of(MAX_HEAD)) == "a.example"
    assert outcome(request_of(MAX_HEAD + 1)) is RemoteProtocolError
    assert outcome(request_of(MAX_HEAD + 1)[: MAX_HEAD - 1]) is None
    assert outcome(request_of(MAX_HEAD + 1)[:MAX_HEAD]) is RemoteProtocolError


def test_many_fields_and_long_ones_are_read() -> None:
    fields = b"a:\r\n" * 16_000

    assert host_of(b"GET / HTTP/1.1\r\n" + fields + b"Host: a.example\r\n\r\n") == "a.example"
    assert outcome(b"GET / HTTP/1.1\r\n" + fields + b"no field\r\n\r\n") is RemoteProtocolError


@pytest.mark.parametrize("start", [b"GET /", b"GET / HT", b"GET / HTTP/1.1\r\n\0", b"PRI * HTTP/2.0\r\n"])
def test_a_method_and_a_target_look_like_http_whatever_comes_of_them(start: bytes) -> None:
    assert looks_like_http(start)


@pytest.mark.parametrize("start", [b"", b"G", b"GET ", b"GET /\r\n", b"EHLO a.example\r\n", b"\x16\x03\x01"])
def test_what_may_be_another_protocol_does_not_look_like_http(start: bytes) -> None:
    assert not looks_like_http(start)


WORDS = b"GET PRI / * http:// a.example :80 HTTP/1.1 HTTP/1.0 Host: host:b X:y [::1] @ \0 \xff".split(b" ")
SPACES = [b" ", b"\t", b"\r", b"\n", b"\r\n", b"\r\n\r\n"]
HTTPISH = st.lists(st.sampled_from(WORDS) | st.sampled_from(SPACES), max_size=25).map(b"".join)


@given(
    st.binary(max_size=100) | HTTPISH | HTTPISH.map(lambda tail: b"GET / HTTP/1.1\r\n" + tail + b"\r\n\r\n")
)
def test_arbitrary_bytes_are_a_request_or_too_few_or_refused(data: bytes) -> None:
    assert outcome(data) == trickle(data)


@given(data=st.data())
def test_a_broken_request_is_read_or_refused_and_comes_out_the_same_byte_by_byte(data: st.DataObject) -> None:
    request = bytearray(PLAIN)
    for _ in range(data.draw(st.integers(min_value=1, max_value=4))):
        request[data.draw(st.integers(min_value=0, max_value=len(request) - 1))] = data.draw(
            st.integers(0, 255)
        )
    broken = bytes(request[: data.draw(st.integers(min_value=0, max_value=len(request)))])

    assert outcome(broken) == trickle(broken)
