"""What a client may reach: nothing that no rule allows, and no neighbor of the gateway that none names."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agent.gateway.egress_rules import Asked, ClientRules, Refusal, Standing
from agent.gateway.special_addresses import Address, special_range
from schemas.egress import HostGlob, parse_destination
from schemas.ports import PortRange, parse_port_range
from schemas.state import EgressRule
from tests.agent.gateway.test_special_addresses import PUBLIC, SPECIAL

EVERYTHING = ["*", "0.0.0.0/0", "::/0"]


def rule(*to: str, client: str = "homelab", ports: str = "*") -> EgressRule:
    return EgressRule.model_construct(
        client=tuple(client.split()),
        to=tuple(parse_destination(text) for text in to),
        ports=tuple(parse_port_range(text) for text in ports.split()),
    )


def rules(*to: str, ports: str = "*") -> ClientRules:
    return ClientRules("homelab", [rule(*to, ports=ports)])


def asked(said: ClientRules, host: str, port: int = 25) -> Asked:
    answer = said.ask(host, port)
    assert isinstance(answer, Asked), answer
    return answer


def reaches(
    said: ClientRules,
    host: str,
    address: str | None = None,
    *,
    port: int = 25,
    standing: Standing = Standing.ELSEWHERE,
) -> bool:
    """Whether that address may be dialed for the host, which is the address itself if there is none."""
    answer = said.ask(host, port)
    if isinstance(answer, Refusal):
        return False
    return said.judge(answer, ip_address(address or host), standing) is None


# By name


@pytest.mark.parametrize(
    ("to", "host", "expected"),
    [
        ("mail.example.com", "mail.example.com", True),
        ("mail.example.com", "www.mail.example.com", False),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "example.com.evil.test", False),
        ("*", "anything.test", True),
        ("8.0.0.0/8", "anything.test", True),
        ("9.0.0.0/8", "anything.test", False),
    ],
)
def test_a_host_is_reached_if_a_rule_names_it_or_its_address(to: str, host: str, expected: bool) -> None:
    assert reaches(rules(to), host, "8.8.8.8") == expected


def test_without_a_rule_nothing_is_even_looked_for() -> None:
    for said in (ClientRules("homelab", []), ClientRules("homelab", [rule("*", client="office")])):
        for host in ("mail.example.com", "localhost"):
            assert isinstance(said.ask(host, 25), Refusal)
        assert not reaches(said, "8.8.8.8")


def test_a_name_that_no_rule_could_allow_is_not_looked_for() -> None:
    """Neither for its own sake nor for that of an address at a port that no network is allowed at."""
    said = ClientRules("homelab", [rule("*.example.com"), rule("8.0.0.0/8", ports="587")])

    assert isinstance(said.ask("evil.test", 25), Refusal)
    assert isinstance(said.ask("evil.test", 587), Asked)


@pytest.mark.parametrize(
    ("client", "expected"), [("homelab", True), ("office homelab", True), ("*", True), ("office", False)]
)
def test_a_rule_is_for_the_clients_it_names(client: str, expected: bool) -> None:
    assert (
        reaches(ClientRules("homelab", [rule("*", client=client)]), "mail.example.com", "8.8.8.8") == expected
    )


@pytest.mark.parametrize(
    ("ports", "port", "expected"),
    [("25", 25, True), ("25 587", 587, True), ("20-30", 25, True), ("26", 25, False)],
)
def test_a_rule_is_for_the_ports_it_names(ports: str, port: int, expected: bool) -> None:
    assert reaches(rules(*EVERYTHING, ports=ports), "mail.example.com", "8.8.8.8", port=port) == expected
    assert reaches(rules("8.8.8.8", ports=ports), "8.8.8.8", port=port) == expected


# By address


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_reached_where_everything_is_allowed(address: str) -> None:
    assert reaches(rules("*"), address)
    assert reaches(rules("0.0.0.0/0", "::/0"), address)


@pytest.mark.parametrize("glob", ["8.8.8.*", "*.8", "8*", "8.8.8.8"])
def test_a_glob_names_no_address(glob: str) -> None:
    """Only ``*`` alone is any host."""
    said = ClientRules("homelab", [rule("*").model_copy(update={"to": (HostGlob(glob),)})])

    assert not reaches(said, "8.8.8.8")


@pytest.mark.parametrize("address", SPECIAL)
@pytest.mark.parametrize("host", [None, "mail.example.com", "localhost"])
def test_no_special_address_is_reached_because_everything_is_allowed(address: str, host: str | None) -> None:
    assert not reaches(rules(*EVERYTHING), host or address, address)


@given(
    network=st.sampled_from(["0.0.0.0/0", "::/0", "8.0.0.0/5", "2000::/3", "168.0.0.0/6"]),
    address=st.ip_addresses(),
)
def test_whatever_is_special_is_reached_by_no_network_that_holds_more(network: str, address: Address) -> None:
    assume(special_range(address) is not None)

    assert not reaches(rules(network, "*"), "rebound.test", str(address))


@pytest.mark.parametrize(
    ("to", "address"),
    [
        ("127.0.0.0/8", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "::ffff:127.0.0.1"),
        ("127.0.0.1", "::127.0.0.1"),
        ("127.0.0.1", "64:ff9b::127.0.0.1"),
        ("10.1.0.0/16", "10.1.2.3"),
        ("fd00::/8", "fd12::1"),
        ("169.254.0.0/16", "169.254.1.1"),
        ("169.254.169.254", "169.254.169.254"),
        ("100.64.0.0/10", "100.64.0.1"),
        ("2002::/16", "2002:808:808::1"),
        ("2002:7f00:1::1", "2002:7f00:1::1"),
    ],
)
def test_a_special_address_is_reached_by_a_network_of_its_range(to: str, address: str) -> None:
    assert reaches(rules(to), address)
    assert reaches(rules(to), "intern.example.com", address)


@pytest.mark.parametrize(
    ("to", "address"),
    [
        ("169.254.0.0/16", "169.254.169.254"),
        ("100.64.0.0/10", "100.100.100.200"),
        ("fd00::/8", "fd00:ec2::254"),
        ("168.63.0.0/16", "168.63.129.16"),
        ("2002::/16", "2002:7f00:1::1"),
        ("240.0.0.0/4", "255.255.255.255"),
        ("10.1.0.0/16", "10.2.0.1"),
        ("127.0.0.2", "127.0.0.1"),
    ],
)
def test_what_is_more_special_than_its_neighbors_is_to_be_named_itself(to: str, address: str) -> None:
    """Who names the network of a VPN has not named what gives out the machine's credentials."""
    assert not reaches(rules(to, "*"), address)


def test_a_named_network_is_open_at_the_ports_of_its_rule() -> None:
    said = ClientRules("homelab", [rule("10.0.0.0/8", ports="5432"), rule("*", ports="25")])

    assert reaches(said, "10.0.0.1", port=5432)
    assert not reaches(said, "10.0.0.1", port=25)
    assert not reaches(said, "8.8.8.8", port=5432)


# Spellings of a number


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "017700000001", "0x7f000001", "127.1", "127.0.1", "0177.0.0.1"),
        *("0x7f.1", "0x7f.0.0.1", "127.0.0.0x1", "127.0.0.01", "0", "1", "0x", "127.0.0.1.", "2130706433."),
        *(
            "8.8.8.8.8",
            "256.1.1.1",
            "example.com.1",
            "a.0x1",
            "\uff11\uff12\uff17.0.0.1",
            "127\u30020\u30020\u30021",
        ),
        *(
            "",
            ".",
            "..",
            "a..b",
            "a b",
            "a\nb",
            "a\0",
            "[::1]",
            "::1]",
            "-\u2028",
            "a" * 64,
            "http://a/",
            "a/b",
            "a%b",
        ),
    ],
)
def test_what_a_resolver_might_take_for_a_number_or_nobody_for_a_name_is_not_looked_for(host: str) -> None:
    answer = rules(*EVERYTHING, "127.0.0.0/8").ask(host, 25)

    assert isinstance(answer, Refusal)
    assert answer.told.startswith(f"{host} is no name, and no address as addresses are written")


@pytest.mark.parametrize(
    "host", ["mail.example.com", "1e100.net", "0x7f.example", "a_b.test", "xn--4ca.test", "3com"]
)
def test_names_that_only_begin_like_numbers_are_names(host: str) -> None:
    assert asked(rules("*"), host).address is None


@pytest.mark.parametrize(
    ("host", "spelled"), [("0:0:0:0:0:0:0:1", "::1"), ("FD00::1", "fd00::1"), ("8.8.8.8", "8.8.8.8")]
)
def test_an_address_is_never_looked_for(host: str, spelled: str) -> None:
    answer = asked(rules("*"), host)

    assert (answer.host, answer.address) == (spelled, ip_address(spelled))


@given(host=st.text(max_size=30), port=st.integers(1, 65535), address=st.ip_addresses())
def test_whatever_is_asked_for_is_answered(host: str, port: int, address: Address) -> None:
    said = rules("*", "10.0.0.0/8")
    answer = said.ask(host, port)
    if isinstance(answer, Asked):
        said.judge(answer, address, Standing.ELSEWHERE)


# The gateway itself


@pytest.mark.parametrize(
    ("to", "ports", "expected"),
    [
        ("*", "*", False),
        ("8.0.0.0/8", "9056", False),
        ("8.8.8.8", "*", False),
        ("8.8.8.8", "9000-9100", False),
        ("8.8.8.8", "9056", True),
        ("8.8.8.8", "25 9056", True),
    ],
)
def test_the_gateways_own_port_is_reached_by_its_address_and_its_number(
    to: str, ports: str, expected: bool
) -> None:
    said = rules(to, ports=ports)

    assert reaches(said, "8.8.8.8", port=9056, standing=Standing.OWN_PORT) == expected
    assert reaches(said, "gw.example.com", "8.8.8.8", port=9056, standing=Standing.OWN_PORT) == expected


def test_the_gateways_own_port_is_named_by_one_rule_and_not_by_two() -> None:
    said = ClientRules("homelab", [rule("8.8.8.8"), rule("*", ports="9056")])

    assert not reaches(said, "8.8.8.8", port=9056, standing=Standing.OWN_PORT)


def test_a_loopback_network_opens_no_port_of_the_gateway() -> None:
    for address in ("127.0.0.1", "::1"):
        said = rules("127.0.0.0/8", "::1/128")
        assert reaches(said, address, standing=Standing.OWN_ADDRESS)
        assert not reaches(said, address, standing=Standing.OWN_PORT)
        assert reaches(rules(address, ports="25"), address, standing=Standing.OWN_PORT)


@pytest.mark.parametrize(("to", "expected"), [("*", False), ("8.0.0.0/8", False), ("8.8.8.8", True)])
def test_an_address_of_the_gateways_machine_is_reached_where_it_is_named_alone(
    to: str, expected: bool
) -> None:
    """From within, no firewall is in the way to what else runs there."""
    assert reaches(rules(to), "8.8.8.8", standing=Standing.OWN_ADDRESS) == expected
    assert reaches(rules("10.0.0.0/8"), "10.0.0.1", standing=Standing.ELSEWHERE)
    assert not reaches(rules("10.0.0.0/8"), "10.0.0.1", standing=Standing.OWN_ADDRESS)


# What is said of it


def refusal(
    said: ClientRules, host: str, address: str | None = None, standing: Standing = Standing.ELSEWHERE
) -> Refusal:
    answer = said.ask(host, 25)
    if isinstance(answer, Asked):
        judged = said.judge(answer, ip_address(address or host), standing)
        assert judged is not None
        return judged
    return answer


def test_a_refusal_says_which_rule_is_missing() -> None:
    told = (
        "the client homelab may not reach mail.example.com:25: add to egress.allow in the gateway's file "
        '{client: homelab, to: "mail.example.com", ports: 25}'
    )

    assert refusal(rules("*.example.org"), "mail.example.com") == Refusal(told=told, logged=told)


@pytest.mark.parametrize("standing", Standing)
@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("10.0.0.1", "private"),
        ("127.0.0.1", "loopback"),
        ("169.254.169.254", "a cloud's metadata service"),
        ("::ffff:10.0.0.1", "private"),
    ],
)
def test_who_asks_for_an_address_hears_what_it_is_to_everybody(
    address: str, kind: str, standing: Standing
) -> None:
    """The same words for a neighbor, for a port of the gateway, and for a stranger."""
    plain = address.rpartition(":")[2]
    said = refusal(rules("*"), address, standing=standing)

    assert said.told == (
        f"the client homelab may not reach {plain}:25, which is {kind}: "
        f'add to egress.allow in the gateway\'s file {{client: homelab, to: "{plain}", ports: 25}}'
    )
    assert said.logged.startswith(f"{plain}:25 is ")
    assert said.logged.endswith(f'add to egress.allow {{client: homelab, to: "{plain}", ports: 25}}')


@pytest.mark.parametrize(
    ("to", "address"), [("*", "8.8.8.8"), ("8.0.0.0/8", "8.8.8.8"), ("10.0.0.0/8", "10.0.0.1")]
)
@pytest.mark.parametrize(
    ("standing", "what"),
    [
        (Standing.OWN_PORT, "one of the gateway's own ports"),
        (Standing.OWN_ADDRESS, "an address of the gateway's own machine"),
    ],
)
def test_who_may_reach_all_others_hears_that_an_address_is_the_gateways(
    to: str, address: str, standing: Standing, what: str
) -> None:
    told = refusal(rules(to), address, standing=standing).told

    assert told.startswith(f"the client homelab may not reach {address}:25, which is {what}: ")


@pytest.mark.parametrize("standing", Standing)
def test_who_may_reach_nothing_there_does_not_hear_which_addresses_are_the_gateways(
    standing: Standing,
) -> None:
    told = refusal(rules("*.example.com"), "8.8.8.8", standing=standing).told

    assert told.startswith("the client homelab may not reach 8.8.8.8:25: ")


def test_who_asks_for_a_name_is_not_told_where_it_leads() -> None:
    said = refusal(rules("*"), "db.example.com", "10.0.0.5")

    assert said == Refusal(
        told=(
            "the client homelab may not reach where db.example.com leads: "
            "the gateway's log says what to add to egress.allow in its file"
        ),
        logged=(
            "db.example.com leads to 10.0.0.5:25, which is private: "
            'add to egress.allow {client: homelab, to: "10.0.0.5", ports: 25}'
        ),
    )


@given(
    address=st.ip_addresses(),
    host=st.sampled_from([None, "db.example.com"]),
    standing=st.sampled_from(Standing),
    port=st.integers(1, 65535),
)
def test_the_rule_that_the_log_asks_for_is_enough(
    address: IPv4Address | IPv6Address, host: str | None, standing: Standing, port: int
) -> None:
    said = rules("*", ports="1-65535")
    answer = said.ask(host or str(address), port)
    assert isinstance(answer, Asked)
    missing = said.judge(answer, address, standing)
    if missing is None:
        return
    to = missing.logged.rpartition('to: "')[2].partition('"')[0]
    enough = ClientRules(
        "homelab", [rule("*").model_copy(update={"ports": (PortRange(port, port),), "to": (ip_network(to),)})]
    )
    again = enough.ask(host or str(address), port)
    assert isinstance(again, Asked)

    assert enough.judge(again, address, standing) is None
