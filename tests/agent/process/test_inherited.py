"""Which of the sockets that were handed over is which of ours."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from agent.process.inherited import Inherited
from schemas.names import ListenAddress
from tests.support.descriptors import no_descriptors_left
from tests.support.handing_over import handed_over, opened


def at(bound: socket.socket) -> ListenAddress:
    return ListenAddress(*bound.getsockname()[:2])


def test_a_port_is_found_by_its_address_and_given_once() -> None:
    one, two = opened(), opened()
    with handed_over(one, two) as inherited:
        assert inherited.has(at(two))
        taken = inherited.take(at(two))

        assert taken is not None
        with taken:
            assert taken.getsockname() == two.getsockname()
            assert not taken.get_inheritable()
        assert not inherited.has(at(two))
        assert inherited.take(at(two)) is None
        assert inherited.has(at(one))


def test_a_port_that_is_given_back_can_be_taken_again_and_one_that_is_closed_cannot() -> None:
    bound = opened()
    with handed_over(bound) as inherited:
        taken = inherited.take(at(bound))
        assert taken is not None
        taken.give_back()
        taken.close()
        taken.give_back()
        assert len(inherited.warnings) == 1

        again = inherited.take(at(bound))
        assert again is not None
        assert again.getsockname() == bound.getsockname()
        assert not again.get_inheritable()
        again.close()
        again.give_back()
        assert not inherited.has(at(bound))
        assert "restart the service" in (inherited.explain(at(bound)) or "")


def test_a_port_can_be_given_back_also_without_another_descriptor() -> None:
    bound = opened()
    with handed_over(bound) as inherited:
        taken = inherited.take(at(bound))
        assert taken is not None
        with no_descriptors_left():
            taken.give_back()
        assert inherited.has(at(bound))


@pytest.mark.parametrize(
    ("handed", "asked"),
    [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("::", "::1"), ("::1", "::")],
)
def test_a_wildcard_address_is_no_other_address(handed: str, asked: str) -> None:
    bound = opened(handed)
    wanted = ListenAddress(asked, at(bound).port)
    with handed_over(bound) as inherited:
        assert inherited.take(wanted) is None
        why = inherited.explain(wanted)
        assert why is not None
        assert why.startswith(f"{wanted} cannot be opened beside the socket {at(bound)} (tidegate.socket)")
        assert "write the same address in both places" in why


def test_a_port_of_the_other_family_is_in_nobodys_way() -> None:
    bound = opened("::")
    with handed_over(bound) as inherited:
        assert inherited.explain(ListenAddress("0.0.0.0", at(bound).port)) is None
        assert inherited.explain(ListenAddress("::", at(bound).port + 1)) is None


def test_a_wildcard_socket_that_takes_both_families_is_neither_of_our_two() -> None:
    """It is what systemd makes of ListenStream=443 unless its unit says otherwise."""
    bound = opened("::", only_ipv6=False)
    port = at(bound).port
    with handed_over(bound) as inherited:
        (warning,) = inherited.warnings
        assert "it takes IPv4 as well" in warning
        assert "write BindIPv6Only=ipv6-only in its unit" in warning
        assert f"ListenStream=0.0.0.0:{port} for IPv4" in warning
        for host in ("::", "0.0.0.0", "::1", "127.0.0.1"):
            assert inherited.take(ListenAddress(host, port)) is None
            assert "BindIPv6Only=ipv6-only" in (inherited.explain(ListenAddress(host, port)) or "")


def test_an_ipv6_address_alone_takes_no_ipv4_whatever_its_option_says() -> None:
    bound = opened("::1", only_ipv6=False)
    with handed_over(bound) as inherited:
        taken = inherited.take(at(bound))
        assert taken is not None
        taken.close()


def test_a_unix_socket_is_found_by_its_path_however_that_is_spelled(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "var").symlink_to(tmp_path / "run")
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(tmp_path / "run" / "gateway.sock"))
    bound.listen()
    with handed_over(bound) as inherited:
        assert inherited.take_path(tmp_path / "run" / "other.sock") is None
        taken = inherited.take_path(tmp_path / "var" / "gateway.sock")
        assert taken is not None
        taken.close()
        assert inherited.take_path(tmp_path / "var" / "gateway.sock") is None


def test_what_nobody_asks_for_is_told_and_kept() -> None:
    bound = opened()
    with handed_over(bound) as inherited:
        assert inherited.warnings == (
            f"the socket {at(bound)} (tidegate.socket) was handed over and is not used: "
            "the state asks for no such address; correct one of the two",
        )
        assert inherited.has(at(bound))


def test_what_cannot_be_used_says_why_and_what_to_write() -> None:
    datagrams = socket.socket(type=socket.SOCK_DGRAM)
    datagrams.bind(("127.0.0.1", 0))
    connected, other = socket.socketpair()
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    with other, handed_over(datagrams, connected, silent) as inherited:
        told = inherited.warnings
        assert "it carries no streams; write ListenStream= in its unit" in told[0]
        assert "it is neither a TCP port nor a unix socket with a path" in told[1]
        assert "it does not listen; write Accept=no in its unit" in told[2]
        assert inherited.take(at(silent)) is None


def test_what_is_no_socket_is_told_and_left_alone() -> None:
    reading, writing = os.pipe()
    try:
        inherited = Inherited({reading: "pipe"})
        assert f"the socket with the number {reading} (pipe)" in inherited.warnings[0]
        assert "it is no socket" in inherited.warnings[0]
        os.write(writing, b"open")
        assert os.read(reading, 4) == b"open"
    finally:
        os.close(reading)
        os.close(writing)


def test_a_number_that_is_no_descriptor_is_told() -> None:
    assert "Bad file descriptor" in Inherited({60_000: "nothing"}).warnings[0]


def test_of_two_sockets_with_one_address_the_first_is_used() -> None:
    bound = opened()
    with handed_over(bound, bound) as inherited:
        assert sum("127.0.0.1" in warning for warning in inherited.warnings) == 2
        taken = inherited.take(at(bound))
        assert taken is not None
        taken.close()
        assert inherited.take(at(bound)) is None
        (warning,) = inherited.warnings
        assert "another one is bound to the same" in warning


def test_a_port_that_was_given_up_says_how_to_have_it_again() -> None:
    bound = opened()
    with handed_over(bound) as inherited:
        taken = inherited.take(at(bound))
        assert taken is not None
        taken.close()

        assert "restart the service" in (inherited.explain(at(bound)) or "")


def test_complaints_about_the_handing_over_are_told() -> None:
    assert Inherited(complaints=("something is odd",)).warnings == ("something is odd",)
