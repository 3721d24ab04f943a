"""What one document declares, and whether several fit together: the parser is asked what is right."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import StateError
from schemas.messages import MAX_SERVICES
from schemas.parse import parse_client, parse_gateway
from schemas.part import fit, part_of, read_part
from schemas.roles import Role
from schemas.state import State
from schemas.text import Document, Syntax, read_document

from .reading import CLIENT, GATEWAY, document, state_of
from .values import STATE_LIKE

CLIENTS = st.sampled_from(["home", "office"])
ENTRY = st.fixed_dictionaries(
    {"id": CLIENTS},
    optional={
        "services": st.sampled_from(["web", "w*", "*", []]),
        "listen": st.sampled_from([":1", "127.0.0.1:*", "0.0.0.0:1-2", []]),
        "declares": st.sampled_from(["none", "kept"]),
        "max_ports": st.sampled_from([0, 1, 2, 100]),
    },
)
TUNNEL = st.fixed_dictionaries(
    {
        "name": st.sampled_from("abcdefgh"),
        "listen": st.lists(
            st.sampled_from([":1", "0.0.0.0:1", "127.0.0.1:1", "[::1]:1", "[::]:2", "127.0.0.1:2", ":9056"]),
            min_size=1,
            max_size=2,
            unique=True,
        ),
        "client": st.lists(CLIENTS, min_size=1, max_size=2, unique=True),
        "service": st.sampled_from(["web", "web", "web", "mail"]),
    },
    optional={
        "hostname": st.lists(st.sampled_from(["x", "X", "*.y", "z"]), min_size=1, max_size=2),
        "proxy_protocol": st.sampled_from(["off", "v2"]),
        "declared_by": CLIENTS,
    },
)
TLS = {"cert": "a", "key": "b", "client_ca": "c"}
SECTION = st.fixed_dictionaries(
    {"tls": st.just(TLS)},
    optional={
        "admins": st.lists(CLIENTS, max_size=1),
        "control": st.sampled_from(["127.0.0.1:1", ":3"]),
        "management": st.sampled_from([":3", ":4"]),
    },
)
#: The documents of gateways, which clash with each other often and are broken now and then.
VALUES = st.fixed_dictionaries(
    {"tidegate": st.sampled_from([1, 1, 1, 1, 2])},
    optional={
        "gateway": SECTION,
        "clients": st.lists(ENTRY, max_size=2),
        "tunnels": st.lists(TUNNEL, max_size=3),
        "allow_empty": st.booleans(),
    },
)


def documents(*values: object, owned: bool = False) -> list[Document]:
    """The last of them may be Tidegate's own."""
    last = len(values) - 1
    return [
        read_document(
            json.dumps(value).encode(),
            name=f"{number}.json",
            directory="/etc",
            syntax=Syntax.JSON,
            owned=owned and number == last,
        )
        for number, value in enumerate(values)
        if value != {}
    ]


def fitted(read: list[Document], role: Role) -> State | None:
    parts = [read_part(one, role) for one in read]
    good = [part for part in parts if part is not None]
    return fit(good) if len(good) == len(parts) else None


def parsed(read: list[Document], role: Role) -> State | None:
    try:
        return parse_gateway(read) if role is Role.GATEWAY else parse_client(read)
    except StateError:
        return None


@given(values=st.lists(VALUES, min_size=1, max_size=3), owned=st.booleans())
def test_documents_fit_exactly_if_the_parser_takes_them_and_then_are_the_same_state(
    values: list[dict[str, object]], owned: bool
) -> None:
    read = documents(*values, owned=owned)

    assert fitted(read, Role.GATEWAY) == parsed(read, Role.GATEWAY)


@given(value=STATE_LIKE, more=VALUES, role=st.sampled_from(Role))
def test_what_is_only_nearly_a_state_never_fits_unless_the_parser_takes_it(
    value: dict[str, object], more: dict[str, object], role: Role
) -> None:
    try:
        read = documents(value, more)
    except StateError:
        return

    assert fitted(read, role) == parsed(read, role)


BALANCED = st.fixed_dictionaries(
    {
        "name": st.sampled_from("abcd"),
        "listen": st.sampled_from([":1", ":2", "0.0.0.0:1"]),
        "hostname": st.sampled_from(["x", "y", "z"]),
        "client": CLIENTS,
        "service": st.just("web"),
    },
    optional={"accept_proxy_protocol": st.sampled_from(["10.0.0.5", ["10.0.0.6", "10.0.0.5"]])},
)
REACH = st.fixed_dictionaries(
    {"tidegate": st.just(1)},
    optional={
        "gateway": st.just({"tls": TLS}),
        "clients": st.lists(st.fixed_dictionaries({"id": CLIENTS}), min_size=1, max_size=2),
        "tunnels": st.lists(BALANCED, max_size=2),
        "revoked": st.lists(st.builds(lambda serial: {"serial": serial}, st.integers(0, 2)), max_size=2),
        "egress": st.builds(
            lambda client: {"allow": [{"client": client, "to": "*", "ports": 25}]},
            st.sampled_from(["home", "office", "*"]),
        ),
    },
)
OWN = st.fixed_dictionaries(
    {"tidegate": st.just(1)},
    optional={
        "client": st.just({"id": "home", "gateways": "gw:1", "tls": {"cert": "a", "key": "b", "ca": "c"}}),
        "services": st.dictionaries(st.sampled_from(["web", "mail"]), st.just("a:1"), max_size=2),
        "socks5": st.just({"listen": "127.0.0.1:1080"}),
        "tunnels": st.lists(
            st.fixed_dictionaries(
                {
                    "name": st.sampled_from("abc"),
                    "listen": st.sampled_from([":1", "0.0.0.0:1", ":2"]),
                    "service": st.sampled_from(["web", "mail"]),
                },
                optional={"hostname": st.sampled_from(["x", "y"])},
            ),
            max_size=2,
        ),
    },
)


@given(values=st.lists(REACH, min_size=1, max_size=3))
def test_who_may_reach_what_fits_exactly_if_the_parser_takes_it(values: list[dict[str, object]]) -> None:
    read = documents(*values)

    assert fitted(read, Role.GATEWAY) == parsed(read, Role.GATEWAY)


@given(values=st.lists(OWN, min_size=1, max_size=3))
def test_what_a_client_declares_fits_exactly_if_the_parser_takes_it(
    values: list[dict[str, object]],
) -> None:
    read = documents(*values)

    assert fitted(read, Role.CLIENT) == parsed(read, Role.CLIENT)


@pytest.mark.parametrize("text", [GATEWAY, CLIENT, GATEWAY + "clients: [{id: home}]\n"])
def test_a_whole_state_is_one_part_of_itself(text: str) -> None:
    state = state_of(text)

    assert fit([part_of(state)]) == state


def test_the_services_of_fragments_must_have_names_of_their_own_and_not_be_too_many() -> None:
    one = document(CLIENT + "services: {web: ':80'}\n".replace(":80", "a:80"), name="a.yaml")
    other = document("tidegate: 1\nservices: {mail: 'a:25'}\n", name="b.yaml")
    again = document("tidegate: 1\nservices: {web: 'a:81'}\n", name="c.yaml")
    names = ", ".join(f"s{number}: 'a:1'" for number in range(MAX_SERVICES))
    full = document(f"tidegate: 1\nservices: {{{names}}}\n", name="d.yaml")

    for read in ([one, other], [one, again], [one, full], [other]):
        assert fitted(read, Role.CLIENT) == parsed(read, Role.CLIENT)


def test_a_part_says_nothing_of_a_document_with_a_problem() -> None:
    assert read_part(document(GATEWAY + "tunels: []\n"), Role.GATEWAY) is None
    assert read_part(document(GATEWAY), Role.CLIENT) is None
