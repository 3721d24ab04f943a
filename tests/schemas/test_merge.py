from __future__ import annotations

from schemas.errors import Problem
from schemas.merge import Merge
from schemas.messages import MAX_SERVICES
from schemas.roles import Role

from .reading import GATEWAY, client_of, document, gateway_of, problems_of


def test_a_part_that_cannot_be_read_is_left_out_and_the_rest_is_taken() -> None:
    problems: list[Problem] = []
    merge = Merge(problems=problems)
    text = GATEWAY + 'tunnels:\n  - 7\n  - {name: a, listen: ":1", client: b, service: c}\n'
    merge.add(document(text), Role.GATEWAY)
    state = merge.gateway_state()
    assert state is not None
    assert [tunnel.name for tunnel in state.tunnels] == ["a"]
    assert len(problems) == 1


def test_without_its_main_section_there_is_no_state() -> None:
    problems: list[Problem] = []
    merge = Merge(problems=problems)
    merge.add(document("tidegate: 1\n"), Role.GATEWAY)
    assert merge.gateway_state() is None
    assert merge.client_state() is None


def test_a_tunnel_that_cannot_be_read_hides_no_clash_of_the_others_and_moves_no_place() -> None:
    assert problems_of(
        GATEWAY
        + """\
tunnels:
  - {name: a, listen: ":1", client: home, service: web}
  - {name: b, listen: 2, client: home, service: web}
  - {name: c, listen: [":3", ":1"], client: home, service: web}
"""
    ) == [
        "a.yaml:6:23: listen: the number 2 stands where an address with its port belongs; "
        'write, for example, "0.0.0.0:443"',
        'a.yaml:7:30: 0.0.0.0:1 leads to the tunnel "a" already; give one of them a hostname or another port '
        "(see a.yaml:5:23)",
    ]


def test_a_gateway_section_that_cannot_be_read_hides_no_clash_of_the_tunnels() -> None:
    said = problems_of(
        "tidegate: 1\ngateway: 7\ntunnels:\n"
        '  - {name: a, listen: ":1", client: home, service: web}\n'
        '  - {name: a, listen: ":2", client: home, service: web}\n'
    )
    assert [line.split(": ")[0] for line in said] == ["a.yaml:2:10", "a.yaml:5:12"]


def test_clients_that_cannot_be_read_accuse_no_tunnel() -> None:
    tunnels = 'tunnels:\n  - {name: a, listen: ":1", client: office, service: web}\n'
    for clients in ("clients:\n  - {id: office, x: y}\n", "clients:\n", "clients: office\n"):
        (said,) = problems_of(GATEWAY + clients + tunnels)
        assert "not declared" not in said


def test_an_index_among_addresses_is_found_among_the_texts_that_wrote_them() -> None:
    (said,) = problems_of(
        GATEWAY.replace("tls:", 'control: [":9000", "[::1]:9056"]\n  tls:')
        + 'tunnels:\n  - {name: a, listen: [":1", "127.0.0.1:2", "[::1]:9056"], client: home, service: web}\n'
    )
    assert said == (
        "a.yaml:6:45: [::1]:9056 is taken by gateway.control; choose another port (see a.yaml:3:22)"
    )


def test_a_file_of_another_version_is_not_read_further() -> None:
    later = document("tidegate: 2\nbridges: []\nclients: []\n", name="b.yaml")
    tunnels = 'clients: []\ntunnels:\n  - {name: a, listen: ":1", client: office, service: web}\n'
    assert problems_of(document(GATEWAY + tunnels), later) == [
        "b.yaml:1:11: the number 2 is not a version that this Tidegate reads; write 1, or upgrade"
    ]


def test_true_is_not_the_version_one() -> None:
    (said,) = problems_of(GATEWAY.replace("1", "true", 1))
    assert said.startswith("a.yaml:1:11: true stands where the version of the file belongs")


def test_allow_empty_stands_beside_the_main_section() -> None:
    assert gateway_of(GATEWAY + "allow_empty: true\n").allow_empty
    (said,) = problems_of(document(GATEWAY), document("tidegate: 1\nallow_empty: true\n", name="b.yaml"))
    assert said == "b.yaml:2:1: allow_empty belongs in the file with the section gateway; move it there"


def test_a_client_has_no_more_services_than_one_message_can_tell() -> None:
    """The list goes to the gateway whole; one service too many is said at its section."""
    head = 'tidegate: 1\nclient: {id: c, gateways: ["g:1"], tls: {cert: c, key: k, ca: a}}\nservices:\n'
    many = "".join(f'  s{number}: "127.0.0.1:80"\n' for number in range(MAX_SERVICES))
    assert len(client_of(head + many).services) == MAX_SERVICES
    assert problems_of(head + many + '  more: "127.0.0.1:80"\n') == [
        "a.yaml:3:1: the client has 1,001 services and may have 1,000; let a second client offer the others"
    ]
