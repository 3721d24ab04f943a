"""What a client may not reach through a gateway, on machines with names, addresses and ports of their own.

The gateway is a process on a machine that has a public address and another one beside it, and asks a name
server that says whatever a test wants; next to it is a mail server on the public internet. The client is
driven by hand, so that nothing is kept from the gateway that a hostile client could say.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import yaml

from tests.support.egress_world import (
    EVERYTHING,
    GATEWAY,
    MAIL,
    NEIGHBOR,
    SECOND,
    World,
    egress_world,
    is_silent,
    socks5_reply,
)
from tests.support.site import PATIENCE, tidegate
from tests.support.within import within
from tests.support.yamux_peer import DATA, FIN, RST, data, window

pytestmark = pytest.mark.real_software("ip")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with egress_world(tmp_path_factory.mktemp("egress")) as made:
        yield made


# What is allowed


@pytest.mark.parametrize(
    "host", ["mail.example.com", "MAIL.EXAMPLE.COM.", "listed.example.com", MAIL, f"::ffff:{MAIL}"]
)
@pytest.mark.parametrize("client", ["homelab", "office"])
def test_what_is_allowed_is_reached_by_its_name_and_by_its_address(
    world: World, host: str, client: str
) -> None:
    with world.listening(world.internet, MAIL) as mail, world.client(client) as asker:
        stream = asker.ask(host, 25, b"EHLO")
        assert asker.outcome(stream) == ("accepted", "")
        answering, (source, _) = mail.accept()
        with answering:
            assert source in (GATEWAY, SECOND)
            answering.settimeout(PATIENCE)
            assert answering.recv(4) == b"EHLO"
            answering.sendall(b"250")
            said = asker.peer.until(lambda said: said.stream == stream and said.kind == DATA)
            assert said.payload == b"250"
        asker.peer.say(window(stream, 0, RST))
        line = world.gateway.wait_for("egress_closed", client=client, address=MAIL, bytes_in=3, bytes_out=4)
        assert line["destination"].endswith(":25")


def test_it_is_dialed_from_the_address_that_the_file_says(world: World) -> None:
    """As a mail server must, whose name goes with one address."""
    with restored(world), world.listening(world.internet, MAIL) as mail, world.client() as asker:
        for source in (SECOND, GATEWAY):
            world.put(*world.rules, bind=source)
            assert asker.code("mail.example.com", 25) == "accepted"
            answering, (address, _) = mail.accept()
            answering.close()
            assert address == source


# By name


def test_a_name_that_no_rule_allows_is_refused_and_not_looked_up(world: World) -> None:
    world.names.put("mail.example.org", [MAIL])
    with world.client("office") as asker:
        before = len(world.names.asked)
        assert asker.asks("mail.example.org", 587) == (
            "not_allowed",
            "the client office may not reach mail.example.org:587: add to egress.allow in the gateway's file "
            '{client: office, to: "mail.example.org", ports: 587}',
        )
        assert asker.code("mail.example.com", 26) == "not_allowed"
        assert len(world.names.asked) == before


def test_a_client_without_a_rule_is_refused_everything(world: World) -> None:
    world.place.issue("stranger")
    with world.client("stranger") as asker:
        for host in ("mail.example.com", MAIL, "127.0.0.1", "localhost"):
            assert asker.code(host, 25) == "not_allowed"


def test_localhost_by_any_name_is_refused(world: World) -> None:
    world.names.put("localhost.example.com", ["127.0.0.1", "::1"])
    with world.listening(world.public, "127.0.0.1") as local, world.client() as asker:
        mark = world.mark(asker)
        for host in ("localhost", "localhost.example.com"):
            assert asker.code(host, 25) == "not_allowed"
        assert is_silent(local)
    for reason in world.refusals(mark, 2):
        assert ", which is loopback: add to egress.allow " in reason


# By address


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "127.8.8.8",
            "::1",
            "0.0.0.0",
            "::",
            NEIGHBOR,
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
        ),
        *(
            "169.254.1.1",
            "fe80::1",
            "fd12:3456::1",
            "fec0::1",
            "192.0.2.2",
            "198.18.0.1",
            "224.0.0.1",
            "ff02::1",
        ),
        *("240.0.0.1", "255.255.255.255", "2001:db8::1", "2002:7f00:1::1", "2001:0:1::1"),
        *("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"),
    ],
)
def test_an_address_that_is_not_of_the_public_internet_is_refused_where_everything_is_allowed(
    world: World, address: str
) -> None:
    with world.client() as asker:
        code, told = asker.asks(address, 25)

    assert code == "not_allowed"
    assert told.endswith(
        f'add to egress.allow in the gateway\'s file {{client: homelab, to: "{address}", ports: 25}}'
    )


def test_an_address_that_no_rule_allows_is_refused(world: World) -> None:
    with world.listening(world.internet, MAIL, 26) as mail, world.client("office") as asker:
        assert asker.code(MAIL, 26) == "not_allowed"
        assert asker.code("203.0.114.99", 26) == "not_allowed"
        assert is_silent(mail)


@pytest.mark.parametrize(
    "address",
    [
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "::FFFF:127.0.0.1",
        "0:0:0:0:0:ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::127.0.0.1",
    ],
)
def test_loopback_in_an_ipv6_disguise_is_refused(world: World, address: str) -> None:
    with world.listening(world.public, "127.0.0.1") as local, world.client() as asker:
        mark = world.mark(asker)
        assert asker.code(address, 25) == "not_allowed"
        assert is_silent(local)
    assert world.refusals(mark)[0].startswith("127.0.0.1:25 is loopback")


# Numbers in other spellings


@pytest.mark.parametrize(
    "host",
    [
        *(
            "2130706433",
            "017700000001",
            "0x7f000001",
            "0X7F000001",
            "127.1",
            "127.0.1",
            "0177.0.0.1",
            "0x7f.0.0.1",
        ),
        *("127.0.0.01", "127.0.0.0x1", "0177.0.0.01", "00000177.0.0.1", "2130706433.", "127.1.", "0"),
    ],
)
def test_an_address_in_decimal_octal_or_hexadecimal_is_refused(world: World, host: str) -> None:
    """The system's resolver takes most of them for 127.0.0.1, or for 0.0.0.0, and asks no name server."""
    with world.listening(world.public, "127.0.0.1") as local, world.client() as asker:
        code, told = asker.asks(host, 25)
        assert is_silent(local)

    assert code == "not_allowed"
    assert "is no name, and no address as addresses are written" in told


def test_a_dot_behind_an_address_changes_nothing(world: World) -> None:
    with world.listening(world.public, "127.0.0.1") as local, world.client() as asker:
        assert asker.code("127.0.0.1.", 25) == "not_allowed"
        assert is_silent(local)


@pytest.mark.parametrize(
    "host", ["[::1]", "fe80::1%lo", "127.0.0.1:80", "a b", "a\nb", "", "127。0。0。1", "http://a/"]
)
def test_what_is_neither_a_name_nor_an_address_is_no_header(world: World, host: str) -> None:
    with world.client() as asker:
        assert asker.code(host, 25) == "malformed"


# Rebinding


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", NEIGHBOR, "169.254.169.254", "::ffff:127.0.0.1", "192.0.2.2"]
)
def test_a_name_that_leads_beside_the_gateway_is_refused_and_where_to_is_in_the_log_alone(
    world: World, address: str
) -> None:
    world.names.put("inside.example.com", [address])
    with world.listening(world.public, "127.0.0.1") as local, world.client() as asker:
        mark = world.mark(asker)
        code, told = asker.asks("inside.example.com", 25)
        assert is_silent(local)

    assert (code, told) == (
        "not_allowed",
        "the client homelab may not reach where inside.example.com leads: "
        "the gateway's log says what to add to egress.allow in its file",
    )
    assert f'to: "{address.removeprefix("::ffff:")}"' in world.refusals(mark)[0]


def test_an_answer_that_changes_is_asked_for_once_and_judged_each_time(world: World) -> None:
    world.names.put("changing.example.com", [MAIL], ["127.0.0.1"])
    with (
        world.listening(world.internet, MAIL) as mail,
        world.listening(world.public, "127.0.0.1") as local,
        world.client() as asker,
    ):
        before = len(world.names.asked)
        assert asker.code("changing.example.com", 25) == "accepted"
        mail.accept()[0].close()
        assert world.names.asked[before:] == ["changing.example.com"]

        assert asker.code("changing.example.com", 25) == "not_allowed"
        assert world.names.asked[before:] == ["changing.example.com"] * 2
        assert is_silent(local)


def test_of_an_answer_with_several_addresses_only_what_is_allowed_is_dialed(world: World) -> None:
    world.names.put("mixed.example.com", ["127.0.0.1", NEIGHBOR, MAIL, "::1", GATEWAY])
    with (
        world.listening(world.internet, MAIL) as mail,
        world.listening(world.public, "127.0.0.1") as local,
        world.client() as asker,
    ):
        for _ in range(5):  # a resolver may turn the order around
            assert asker.code("mixed.example.com", 25) == "accepted"
            mail.accept()[0].close()
        assert is_silent(local)


# The gateway itself


@pytest.mark.parametrize(
    "host", [GATEWAY, SECOND, "192.0.2.1", "127.0.0.1", "localhost", "::1", "0.0.0.0", f"::ffff:{GATEWAY}"]
)
def test_no_port_of_the_gateway_is_reached_at_any_address_of_its_machine(world: World, host: str) -> None:
    with world.client() as asker:
        for port in (world.control, world.management, world.door):
            assert asker.code(host, port) == "not_allowed"


def test_the_admin_port_is_refused_to_who_may_reach_everything_on_loopback(world: World) -> None:
    with restored(world), world.listening(world.public, "127.0.0.1", 2525) as local:
        world.put({"client": "homelab", "to": ["127.0.0.0/8", "::1"], "ports": "*"})
        with world.client() as asker:
            mark = world.mark(asker)
            assert asker.code("127.0.0.1", 2525) == "accepted"
            local.accept()[0].close()
            assert asker.code("127.0.0.1", world.management) == "not_allowed"
            world.put({"client": "homelab", "to": "127.0.0.1", "ports": f"1-{world.management}"})
            assert asker.code("127.0.0.1", world.management) == "not_allowed"
            assert all("one of the gateway's own ports" in reason for reason in world.refusals(mark, 2))

            world.put({"client": "homelab", "to": "127.0.0.1", "ports": world.management})
            assert asker.code("127.0.0.1", world.management) == "accepted"


def test_the_control_port_at_the_public_address_is_reached_only_by_that_address_and_number(
    world: World,
) -> None:
    world.names.put("gateway.example.com", [GATEWAY])
    with restored(world), world.client() as asker:
        mark = world.mark(asker)
        assert asker.code(GATEWAY, world.control) == "not_allowed"
        assert asker.code(SECOND, world.control) == "not_allowed"  # of which the first one is the source
        assert asker.code("gateway.example.com", world.control) == "not_allowed"
        assert all("one of the gateway's own ports" in reason for reason in world.refusals(mark, 3))

        world.put({"client": "homelab", "to": [*EVERYTHING, "203.0.114.0/24"], "ports": [world.control]})
        assert asker.code(GATEWAY, world.control) == "not_allowed"
        world.put({"client": "homelab", "to": GATEWAY, "ports": "*"})
        assert asker.code(GATEWAY, world.control) == "not_allowed"
        world.put({"client": "homelab", "to": GATEWAY, "ports": [world.control]})
        assert asker.code(SECOND, world.control) == "not_allowed"
        assert asker.code("gateway.example.com", world.control) == "accepted"


def test_what_else_listens_on_the_gateways_machine_is_reached_only_by_its_address(world: World) -> None:
    """From within, no firewall is in the way."""
    with restored(world), world.listening(world.public, "0.0.0.0", 6379) as database, world.client() as asker:
        for host in (GATEWAY, SECOND, "192.0.2.1"):
            assert asker.code(host, 6379) == "not_allowed"
        assert is_silent(database)

        world.put({"client": "homelab", "to": GATEWAY, "ports": "*"})
        assert asker.code(GATEWAY, 6379) == "accepted"


# What comes of what is allowed


def test_each_way_to_fail_has_its_code(world: World) -> None:
    with world.client() as asker:
        assert asker.code("nobody.example.com", 25) == "unresolvable"
        assert asker.code(MAIL, 2) == "connection_refused"
        assert asker.code("8.8.8.8", 53) == "network_unreachable"
        assert asker.code("2606:4700::1111", 53) == "network_unreachable"
        assert asker.code("203.0.114.77", 25) == "host_unreachable"


# Through a client that is Tidegate's own


ASKED = {
    ("mail.example.com", 25): 0,
    (MAIL, 25): 0,
    ("inside.example.com", 25): 2,
    ("127.0.0.1", 25): 2,
    ("2130706433", 25): 2,
    ("0177.0.0.1", 25): 2,
    ("0x7f000001", 25): 2,
    ("::1", 25): 2,
    ("::ffff:127.0.0.1", 25): 2,
    ("169.254.169.254", 80): 2,
    ("8.8.8.8", 53): 3,
    ("nobody.example.com", 25): 4,
    (MAIL, 2): 5,
}


def test_a_program_beside_the_client_is_told_by_the_replies_of_socks(world: World) -> None:
    world.names.put("inside.example.com", ["127.0.0.1"])
    state = world.place.client_file({}, id="laptop", socks5={"listen": "127.0.0.1:1080"})
    rule = {"client": "laptop", "to": EVERYTHING, "ports": "*"}
    with restored(world), world.listening(world.internet, MAIL), world.listening(world.public, "127.0.0.1"):
        world.put(rule)
        client = world.place.start("client", state, inside=world.internet.inside)
        client.wait_for("link_up")

        def replies() -> dict[tuple[str, int], int]:
            asked = [*ASKED, (GATEWAY, world.control), (SECOND, world.management), ("127.0.0.1", world.door)]
            return {destination: socks5_reply(*destination) for destination in asked}

        own = {(GATEWAY, world.control): 2, (SECOND, world.management): 2, ("127.0.0.1", world.door): 2}
        assert within(world.internet, replies) == ASKED | own
        assert client.stop() == 0


# Changes


@contextmanager
def restored(world: World) -> Iterator[None]:
    """Whatever the test does to the rules, the next one has those of the world."""
    try:
        yield
    finally:
        world.put(*world.rules)


def test_a_rule_that_is_taken_away_ends_its_connections_at_once_as_the_plan_says(world: World) -> None:
    with (
        restored(world),
        world.listening(world.internet, MAIL) as mail,
        world.client() as asker,
        world.client("office") as other,
    ):
        for each in (asker, other):
            assert each.code("mail.example.com", 25) == "accepted"
        ends = [mail.accept()[0] for _ in range(2)]
        now = world.place.directory / "gateway.yaml"
        planned = world.place.put(
            "planned.yaml", {**yaml.safe_load(now.read_text()), "egress": {"allow": [world.rules[1]]}}
        )
        plan = tidegate("plan", str(planned), "--to", str(now), "--json")
        changes = {change["kind"]: change for change in json.loads(plan.stdout)["changes"]}
        assert (plan.returncode, changes["egress"]["dropped"]) == (2, 1)

        mark = world.mark(other)
        world.put(world.rules[1])
        line = world.gateway.wait_for("egress_closed", after=mark, client="homelab", end="aborted")
        assert line["reason"].startswith(
            "it is no longer allowed: the client homelab may not reach mail.example.com:25"
        )
        asker.peer.until(lambda said: said.stream == 3 and said.flags & RST)
        other.peer.say(data(3, b"still here"))
        assert sorted(map(_heard, ends)) == [b"a reset", b"still here"]


def _heard(connection: socket.socket) -> bytes:
    with connection:
        connection.settimeout(PATIENCE)
        try:
            return connection.recv(100)
        except ConnectionResetError:
            return b"a reset"


def test_what_is_open_is_in_the_status_until_both_directions_have_ended(world: World) -> None:
    with world.listening(world.internet, MAIL) as mail, world.client() as asker:
        stream = asker.ask(MAIL, 25)
        assert asker.outcome(stream) == ("accepted", "")
        answering, _ = mail.accept()
        clients = {client["id"]: client for client in world.gateway.status()["clients"]}
        assert (clients["homelab"]["egress"], clients["homelab"]["traffic"]["open"]) == (1, 1)
        with answering:
            answering.shutdown(socket.SHUT_WR)
            asker.peer.say(data(stream, b"", FIN))
        world.gateway.wait_for("egress_closed", client="homelab", end="done", bytes_in=0, bytes_out=0)
