"""Ports of this machine, and what is said of those that cannot be had."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Final

import pytest

from agent.process.bind import Ports, _explain, bind
from agent.process.descriptors import Use
from reconcile.actuator import ActionError
from schemas.names import ListenAddress
from tests.support.descriptors import no_descriptors_left, open_sockets, room_left
from tests.support.handing_over import handed_over, opened
from tests.support.peers import free_listen
from tests.support.source import ROOT

_PORTS_FOR_EVERYBODY: Final = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def wildcards() -> tuple[ListenAddress, ListenAddress]:
    """``0.0.0.0`` and ``[::]`` with one port, which was free a moment ago in both families."""
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::", 0))  # takes both families where the system does not keep them apart
        port = probe.getsockname()[1]
    return ListenAddress("0.0.0.0", port), ListenAddress("::", port)


def test_a_bound_port_listens_and_does_not_block() -> None:
    address = free_listen()

    with bind(address) as listening, socket.create_connection((address.host, address.port)):
        assert not listening.getblocking()
        assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


def test_an_accepted_connection_inherits_the_probing_of_vanished_visitors() -> None:
    address = free_listen()

    with bind(address) as listening, socket.create_connection((address.host, address.port)):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_port_that_another_program_has_is_taken() -> None:
    address = free_listen()

    with bind(address), pytest.raises(ActionError, match="is taken by another program; stop it") as caught:
        bind(address)

    assert caught.value.reason == "AddressInUse"
    assert str(caught.value).startswith(str(address))


def test_a_port_that_another_program_has_bound_and_does_not_yet_listen_on_is_free_until_it_does() -> None:
    address = free_listen()

    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((address.host, address.port))
        with bind(address), pytest.raises(OSError, match="in use"):
            other.listen()


def test_a_port_is_free_again_as_soon_as_it_is_closed_also_with_a_connection_that_lingers() -> None:
    address = free_listen()
    with bind(address) as listening, socket.create_connection((address.host, address.port)):
        accepted, _ = listening.accept()
        accepted.close()  # this end closes first, so the system keeps its address for a minute

    with bind(address) as listening:
        assert listening.getsockname() == (address.host, address.port)


def test_both_wildcards_can_have_the_same_port() -> None:
    v4, v6 = wildcards()

    with bind(v4) as one, bind(v6) as other:
        assert one.getsockname()[1] == other.getsockname()[1]


def test_the_wildcard_of_one_family_takes_nobody_of_the_other() -> None:
    _, v6 = wildcards()

    with bind(v6), pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", v6.port)).close()


def test_an_address_of_another_machine_is_refused_with_where_to_look() -> None:
    address = ListenAddress("192.0.2.1", 443)

    with pytest.raises(ActionError, match="not an address of this machine; write one that") as caught:
        bind(address)

    assert caught.value.reason == "NoSuchAddress"


def test_a_failed_attempt_leaves_no_socket_behind() -> None:
    address = free_listen()

    with bind(address):
        before = open_sockets()
        with pytest.raises(ActionError):
            bind(address)
        assert open_sockets() == before


@pytest.mark.skipif(
    not _PORTS_FOR_EVERYBODY.exists() or int(_PORTS_FOR_EVERYBODY.read_text()) <= 1,
    reason="on this machine every port may be had by everybody",
)
def test_a_port_for_the_superuser_is_refused_with_the_capability_it_needs() -> None:
    program = textwrap.dedent("""
        import os
        from agent.process.bind import bind
        from reconcile.actuator import ActionError
        from schemas.names import ListenAddress
        if os.geteuid() == 0:
            os.setuid(65534)  # which gives up all capabilities
        try:
            bind(ListenAddress("127.0.0.1", 1))
        except ActionError as error:
            print(error.reason, error, sep="|")
    """)

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    reason, _, message = done.stdout.strip().partition("|")
    assert reason == "PermissionDenied"
    assert "127.0.0.1:1 may not be opened by this user; allow it (CAP_NET_BIND_SERVICE)" in message


@pytest.mark.parametrize("address", [ListenAddress("192.0.2.1", 443), ListenAddress("::", 443)])
def test_whatever_the_system_says_becomes_one_line_that_names_the_address(address: ListenAddress) -> None:
    for code in errno.errorcode:
        explained = _explain(address, OSError(code, os.strerror(code)))

        assert str(explained).startswith(str(address))
        assert len(str(explained).splitlines()) == 1
        assert explained.reason.isalpha()
        assert explained.retry


def test_a_port_leaves_the_descriptors_that_the_agent_needs_itself_and_says_how_to_have_more() -> None:
    address = free_listen()

    with room_left(Use.PORT, 1):
        bind(address).close()
    with room_left(Use.PORT, 0):
        before = open_sockets()
        with pytest.raises(ActionError, match=r"raise the limit \(LimitNOFILE, ulimit -n\)") as caught:
            bind(address)
        assert open_sockets() == before
    assert str(caught.value).startswith(f"{address} is not opened: this agent may open")
    assert (caught.value.reason, caught.value.retry) == ("TooManyFiles", True)


def test_a_port_for_which_there_is_no_descriptor_at_all_says_the_same() -> None:
    with no_descriptors_left(), pytest.raises(ActionError, match="is not opened: this agent may open"):
        bind(ListenAddress("127.0.0.1", 1))


# Handed over


def test_a_port_that_was_handed_over_is_used_and_has_the_options_of_any_other() -> None:
    handed = opened()
    address = ListenAddress(*handed.getsockname())
    with handed_over(handed) as inherited, Ports(inherited).bind(address) as bound:
        assert bound.getsockname() == handed.getsockname()
        assert not bound.getblocking()
        assert bound.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        with socket.create_connection((address.host, address.port)):
            connection, _ = handed.accept()  # the same queue: it is the same socket
            connection.close()


def test_a_port_that_was_not_handed_over_is_bound_as_ever() -> None:
    address = free_listen()
    with handed_over(opened()) as inherited, Ports(inherited).bind(address) as bound:
        assert bound.getsockname() == (address.host, address.port)
        assert len(inherited.warnings) == 1


def test_a_port_that_cannot_be_had_beside_what_was_handed_over_says_so() -> None:
    handed = opened("::", only_ipv6=False)
    address = ListenAddress("::", handed.getsockname()[1])
    with handed_over(handed) as inherited:
        with pytest.raises(ActionError, match="BindIPv6Only=ipv6-only in its unit") as caught:
            Ports(inherited).bind(address)
        assert caught.value.reason == "AddressInUse"


def test_a_port_that_was_handed_over_is_there_for_the_next_attempt_if_one_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def prepare(listening: socket.socket) -> None:
        raise OSError(errno.ENOBUFS, "No buffer space available")

    handed = opened()
    address = ListenAddress(*handed.getsockname())
    with handed_over(handed) as inherited:
        ports = Ports(inherited)
        before = len(open_sockets())
        with monkeypatch.context() as failing:
            failing.setattr("agent.process.bind._prepare", prepare)
            with pytest.raises(ActionError, match="cannot be opened: No buffer space available"):
                ports.bind(address)
        assert len(open_sockets()) == before
        with ports.bind(address) as bound:
            assert bound.getsockname() == handed.getsockname()


def test_a_port_that_was_handed_over_and_given_up_says_what_it_takes_to_have_it_again() -> None:
    handed = opened()
    address = ListenAddress(*handed.getsockname())
    with handed_over(handed) as inherited:
        ports = Ports(inherited)
        ports.bind(address).close()

        with pytest.raises(ActionError, match="restart the service"):
            ports.bind(address)


def test_asking_whether_a_port_can_be_had_takes_nothing() -> None:
    handed = opened()
    address = ListenAddress(*handed.getsockname())
    with handed_over(handed) as inherited:
        ports = Ports(inherited)
        ports.probe(address)
        ports.probe(address)
        assert inherited.has(address)
        ports.bind(address).close()
        with pytest.raises(ActionError):
            ports.probe(address)
