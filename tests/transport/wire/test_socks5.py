"""The messages of SOCKS5 are the bytes of RFC 1928 and RFC 1929, and are read as they were written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.wire.egress_header import EgressHeader, encode_egress_header, peek_egress_header
from transport.wire.errors import LocalProtocolError
from transport.wire.socks5 import (
    Connect,
    Login,
    Method,
    Reply,
    Socks5Error,
    encode_choice,
    encode_greeting,
    encode_login,
    encode_reply,
    encode_request,
    encode_verdict,
    peek_choice,
    peek_greeting,
    peek_login,
    peek_reply,
    peek_request,
    peek_verdict,
)

from .test_egress_header import hosts

texts = st.binary(min_size=1, max_size=255)
logins = st.builds(Login, texts, texts)
connects = st.builds(Connect, hosts, st.integers(1, 65_535))


def test_the_messages_have_the_bytes_of_the_rfcs() -> None:
    assert encode_greeting((Method.OPEN, Method.PASSWORD)) == b"\x05\x02\x00\x02"
    assert encode_choice(Method.NONE_ACCEPTABLE) == b"\x05\xff"
    assert encode_login(Login(b"mail", b"secret")) == b"\x01\x04mail\x06secret"
    assert encode_verdict(accepted=True) == b"\x01\x00"
    assert encode_verdict(accepted=False) == b"\x01\x01"
    assert encode_request(Connect("192.0.2.7", 25)) == b"\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x19"
    assert encode_request(Connect("2001:db8::7", 25)) == (
        b"\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x19"
    )
    assert encode_request(Connect("mx.example", 587)) == b"\x05\x01\x00\x03\x0amx.example\x02\x4b"
    assert encode_reply(Reply.CONNECTION_REFUSED) == b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"


def test_the_replies_have_the_numbers_of_the_rfc() -> None:
    assert [reply.value for reply in Reply] == list(range(9))
    assert Reply(2) is Reply.NOT_ALLOWED
    assert Reply(7) is Reply.COMMAND_NOT_SUPPORTED
    assert Reply(8) is Reply.ADDRESS_TYPE_NOT_SUPPORTED


@given(connects, st.binary(max_size=20))
def test_a_request_is_read_as_it_was_written_and_what_follows_is_left(connect: Connect, rest: bytes) -> None:
    encoded = encode_request(connect)

    assert peek_request(encoded + rest) == (connect, len(encoded))
    assert all(peek_request(encoded[:end]) is None for end in range(len(encoded)))


@given(connects)
def test_what_a_request_asks_for_can_be_asked_of_a_gateway(connect: Connect) -> None:
    header = EgressHeader(host=connect.host, port=connect.port)
    found = peek_egress_header(encode_egress_header(header))

    assert found is not None
    assert found[0] == header


@given(logins, st.binary(max_size=20))
def test_a_login_is_read_as_it_was_written_and_what_follows_is_left(login: Login, rest: bytes) -> None:
    encoded = encode_login(login)

    assert peek_login(encoded + rest) == (login, len(encoded))
    assert all(peek_login(encoded[:end]) is None for end in range(len(encoded)))


@given(st.lists(st.sampled_from(Method)).map(tuple), st.binary(max_size=20))
def test_a_greeting_is_read_as_it_was_written_and_what_follows_is_left(
    methods: tuple[Method, ...], rest: bytes
) -> None:
    encoded = encode_greeting(methods)

    assert peek_greeting(encoded + rest) == (bytes(methods), len(encoded))
    assert all(peek_greeting(encoded[:end]) is None for end in range(len(encoded)))


@given(st.sampled_from(Method), st.booleans(), st.sampled_from(Reply))
def test_what_a_proxy_says_is_read_as_it_was_written(method: Method, accepted: bool, reply: Reply) -> None:
    assert peek_choice(encode_choice(method) + b"x") == (method, 2)
    assert peek_verdict(encode_verdict(accepted=accepted) + b"x") == (accepted, 2)
    found = peek_reply(encode_reply(reply) + b"x")
    assert found is not None
    assert found[0] == reply


def test_a_reply_of_success_is_taken_whole_whatever_address_it_has() -> None:
    start = b"\x05\x00\x00"
    for address in (b"\x01\xc0\x00\x02\x07", b"\x04" + bytes(16), b"\x03\x05a.b.c"):
        assert peek_reply(start + address + b"\x1f\x90 rest") == (Reply.SUCCEEDED, len(start + address) + 2)
        assert peek_reply(start + address + b"\x1f") is None


def test_a_failure_is_told_by_two_bytes_since_some_proxies_send_no_more() -> None:
    assert peek_reply(b"\x05\x5b") == (0x5B, 2)


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(Login(b"mail", b"secret"))


@pytest.mark.parametrize(
    ("user", "password"), [(b"", b"p"), (b"u", b""), (b"u" * 256, b"p"), (b"u", b"p" * 256)]
)
def test_a_login_that_does_not_fit_is_our_mistake(user: bytes, password: bytes) -> None:
    with pytest.raises(LocalProtocolError, match="1 to 255 bytes"):
        encode_login(Login(user, password))


def test_an_empty_user_is_read_and_is_for_the_caller_to_judge() -> None:
    assert peek_login(b"\x01\x00\x00") == (Login(b"", b""), 3)


@pytest.mark.parametrize(
    ("request_", "reply", "why"),
    [
        (b"\x05\x02", Reply.COMMAND_NOT_SUPPORTED, "BIND"),
        (b"\x05\x03", Reply.COMMAND_NOT_SUPPORTED, "UDP ASSOCIATE"),
        (b"\x05\x00", Reply.COMMAND_NOT_SUPPORTED, "command 0"),
        (b"\x05\x01\x00\x02", Reply.ADDRESS_TYPE_NOT_SUPPORTED, "address type 2"),
        (b"\x05\x01\x00\x00", Reply.ADDRESS_TYPE_NOT_SUPPORTED, "address type 0"),
        (b"\x04", Reply.GENERAL_FAILURE, "version 4"),
        (b"\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x00", Reply.GENERAL_FAILURE, "port 0"),
        (b"\x05\x01\x00\x03\x00\x00\x19", Reply.HOST_UNREACHABLE, "no host"),
        (b"\x05\x01\x00\x03\x03a b\x00\x19", Reply.HOST_UNREACHABLE, "no host"),
        (b"\x05\x01\x00\x03\x02\xc3\xbc\x00\x19", Reply.HOST_UNREACHABLE, "no host"),
        (b"\x05\x01\x00\x03\x06::1%lo\x00\x19", Reply.HOST_UNREACHABLE, "no host"),
    ],
)
def test_a_request_that_cannot_be_carried_out_is_answered_by_its_reply(
    request_: bytes, reply: Reply, why: str
) -> None:
    with pytest.raises(Socks5Error, match=why) as caught:
        peek_request(request_)
    assert caught.value.answer == encode_reply(reply)
    assert peek_request(request_[:-1]) is None


def test_the_reserved_byte_of_a_request_means_nothing() -> None:
    assert peek_request(b"\x05\x01\x77\x01\xc0\x00\x02\x07\x00\x19") == (Connect("192.0.2.7", 25), 10)


def test_an_address_that_is_sent_as_a_name_is_an_address() -> None:
    """As curl does with --socks5-hostname and a host in brackets."""
    assert peek_request(b"\x05\x01\x00\x03\x0b2001:DB8::7\x00\x19") == (Connect("2001:db8::7", 25), 18)


@pytest.mark.parametrize(
    ("first", "answer", "why"),
    [
        (b"\x04\x01\x00\x19", b"\x00\x5b" + bytes(6), "SOCKS4"),
        (b"GET / HTTP/1.1\r\n", b"HTTP/1.1 400 Bad Request\r\n", "HTTP"),
        (b"CONNECT a:1", b"HTTP/1.1 400 Bad Request\r\n", "HTTP"),
        (b"\x16\x03\x01", b"", "TLS"),
        (b"\x00", b"", "byte 0x00"),
        (b"\xff", b"", "byte 0xff"),
    ],
)
def test_who_speaks_something_else_is_told_so_in_its_own_language(
    first: bytes, answer: bytes, why: str
) -> None:
    with pytest.raises(Socks5Error, match=why) as caught:
        peek_greeting(first)
    assert caught.value.answer.startswith(answer)
    assert bool(caught.value.answer) is bool(answer)


def test_the_answer_in_http_is_complete() -> None:
    with pytest.raises(Socks5Error) as caught:
        peek_greeting(b"G")
    head, _, body = caught.value.answer.partition(b"\r\n\r\n")

    assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")


def test_a_proxy_that_writes_the_wrong_version_before_its_verdict_is_understood() -> None:
    assert peek_verdict(b"\x05\x00") == (True, 2)
    with pytest.raises(Socks5Error):
        peek_verdict(b"\x02\x00")
