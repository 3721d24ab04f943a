from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas.errors import StateError
from schemas.json_schema import schema_text
from schemas.messages import MAX_SERVICES
from schemas.parse import parse_state
from schemas.positions import Path
from schemas.roles import Role
from schemas.text import Document, read_document, syntax_for
from tests.support.json_schemas import refusals, schema_file, validator

from .test_patterns import TEXTS
from .test_states import INVALID, VALID
from .values import JSON_LIKE, STATE_LIKE

# Every key there is, once. Clients and tunnels apart, so that no rule holds between two entries.
GATEWAY: Final[dict[str, Any]] = {
    "tidegate": 1,
    "gateway": {
        "name": "gw1",
        "control": "0.0.0.0:9056",
        "management": ["127.0.0.1:9057", "[::1]:9057"],
        "socket": "run/gateway.sock",
        "data": "data",
        "admins": ["ops"],
        "domain": "example.com",
        "tls": {
            "cert": "-----BEGIN CERTIFICATE-----\n",
            "key": {"env": "KEY"},
            "client_ca": {"file": "ca.crt"},
        },
        "peek_timeout": "3s",
        "ping_interval": "15s",
        "ping_timeout": "1.5 m",
        "half_close_timeout": "1h",
    },
    "tunnels": [
        {
            "name": "blog",
            "listen": [":443", "192.0.2.1:8443"],
            "hostname": ["blog.example.com", "*.bücher.example"],
            "client": ["homelab", "office"],
            "service": "web",
            "proxy_protocol": "v2",
        }
    ],
    "allow_empty": True,
}
CLIENTS: Final[dict[str, Any]] = {
    "tidegate": 1,
    "gateway": {"tls": {"cert": "a", "key": "b", "client_ca": "c"}},
    "clients": [{"id": "homelab"}, {"id": "office"}],
}
CLIENT: Final[dict[str, Any]] = {
    "tidegate": 1,
    "client": {
        "id": "homelab",
        "gateways": ["gw1.example.com:9056", "[2001:db8::1]:9056"],
        "sessions": 3,
        "tls": {"cert": "a", "key": "b", "ca": "c"},
        "socket": "run/client.sock",
        "data": "data",
        "ping_interval": "15s",
        "ping_timeout": "200ms",
        "half_close_timeout": "5m",
    },
    "services": {"web": "127.0.0.1:8443", "smtp": "unix:/run/smtp.sock", "x": "unix:@x"},
    "allow_empty": False,
}
REACH: Final[dict[str, Any]] = {
    "tidegate": 1,
    "gateway": {
        "accept_proxy_protocol": ["10.0.0.5", "2001:db8::/32"],
        "tls": {"cert": "a", "key": "b", "client_ca": "c", "crl": "d"},
    },
    "revoked": [{"serial": "4f:2a:09"}, {"serial": 7}, {"fingerprint": "sha256:" + "5e" * 32}],
    "egress": {
        "bind": ["203.0.113.5"],
        "allow": [
            {"client": ["homelab"], "to": ["*.example.com", "192.0.2.0/24"], "ports": [25, "8000-8099"]},
            {"client": "*", "to": "*", "ports": "*"},
        ],
    },
    "tunnels": [
        {"name": "a", "listen": ":1", "client": "homelab", "service": "c", "balance": "round_robin",
         "accept_proxy_protocol": "10.0.0.5"},
    ],
}  # fmt: skip
RIGHTS: Final[dict[str, Any]] = {
    "tidegate": 1,
    "gateway": {"tls": {"cert": "a", "key": "b", "client_ca": "c"}},
    "clients": [
        {"id": "homelab", "services": ["web", "smtp-*"], "listen": [":443", "0.0.0.0:8000-8999", "[::1]:*"],
         "declares": "session", "max_ports": 20},
    ],
}  # fmt: skip
WAYS: Final[dict[str, Any]] = {
    "tidegate": 1,
    "client": {
        "id": "homelab",
        "gateways": ["gw1.example.com:9056", "wss://gw2.example.com/base/tunnel"],
        "proxy": "http://user:p%40ss@proxy.example.com:3128",
        "local_ports": "40000-40010",
        "tls": {"cert": "a", "key": "b", "ca": "c"},
    },
    "services": {"web": "127.0.0.1:8443", "smtp": {"address": "unix:x", "health_check": "5s"}},
    "socks5": {"listen": "unix:socks.sock", "user": "mail", "password": {"env": "PASSWORD"}},
}
FULL: Final[dict[str, dict[str, Any]]] = {
    "gateway": GATEWAY, "clients": CLIENTS, "reach": REACH, "rights": RIGHTS, "client": CLIENT, "ways": WAYS,
}  # fmt: skip

# What belongs nowhere, or in few places.
WRONG: Final[tuple[object, ...]] = (
    None, True, 0, -1, 7, 1.5, 17, "", " ", "\n", "x y", "~/x", "30", "0s", "0.0 ms", ":0", ":65536", "a..b",
    "192.0.2.1", "unix:", "v3", [], [[]], [""], [None], ["x", "x"], {}, {"x": 1}, {"x y": ":1"}, {"file": ""},
    {"file": 1}, {"file": "-----BEGIN x"}, {"env": "1"}, {"file": "a", "env": "B"},
)  # fmt: skip

# States that only ``check`` can refuse: it sees how entries fit together and does what no pattern can.
BEYOND_A_SCHEMA: Final[dict[str, tuple[dict[str, Any], Path, object]]] = {
    "two tunnels of a name": (
        GATEWAY,
        ("tunnels",),
        [GATEWAY["tunnels"][0], {**GATEWAY["tunnels"][0], "listen": ":1"}],
    ),
    "an undeclared client": (
        CLIENTS,
        ("tunnels",),
        [{"name": "a", "listen": ":1", "client": "b", "service": "c"}],
    ),
    "a port that is taken": (GATEWAY, ("gateway", "control"), ":9057"),
    "an IPv4 address in disguise": (GATEWAY, ("gateway", "control"), "[::ffff:192.0.2.1]:1"),
    "an address with two gaps": (GATEWAY, ("gateway", "control"), "[1::2::3]:1"),
    "the same address in two spellings": (GATEWAY, ("gateway", "control"), ["[::1]:1", "[0::1]:1"]),
    "more than a year": (GATEWAY, ("gateway", "peek_timeout"), "8761h"),
    "a name of 254 characters": (GATEWAY, ("gateway", "domain"), "a." * 126 + "aa"),
    "a letter that no name may hold": (GATEWAY, ("gateway", "domain"), "\u2488"),
    "a whole number with a point": (CLIENT, ("client", "sessions"), 3.0),
}
ONLY_CHECK_REFUSES: Final = {
    "clashes.toml", "default_control_port.yaml", "egress_client.yaml", "forbidden_services.yaml",
    "ports_of_the_gateway.yaml", "same_route.yaml", "socks5_open.yaml", "tunnel_names.yaml",
    "undeclared_clients.yaml", "wildcard_beside_address.yaml",
}  # fmt: skip

every_role = pytest.mark.parametrize("role", Role)


def role_of(value: object) -> Role:
    return Role.CLIENT if isinstance(value, dict) and "client" in value else Role.GATEWAY


def is_accepted(value: dict[str, Any]) -> bool:
    try:
        parse_state([Document(value, name="a", directory="/d")])
    except StateError:
        return False
    return True


def paths(value: object, start: Path = ()) -> Iterator[Path]:
    """The paths of everything in a value, itself left out."""
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for step, inner in entries:
        yield (*start, step)
        yield from paths(inner, (*start, step))


def at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def put(value: dict[str, Any], path: Path, inner: object) -> dict[str, Any]:
    changed = copy.deepcopy(value)
    at(changed, path[:-1])[path[-1]] = inner
    return changed


def without(value: dict[str, Any], path: Path) -> dict[str, Any]:
    changed = copy.deepcopy(value)
    del at(changed, path[:-1])[path[-1]]
    return changed


def properties(schema: Any, start: str = "") -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Each property with its schema, and whether a file must have it."""
    match schema:
        case {"properties": dict() as found}:
            for name, inner in found.items():
                yield f"{start}.{name}", inner, name in schema.get("required", ())
                yield from properties(inner, f"{start}.{name}")
        case {"items": dict() as items}:
            yield from properties(items, f"{start}[]")
        case _:
            pass


def written(role: Role) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(schema_file(role).read_text(encoding="utf-8"))
    return schema


@every_role
def test_the_file_that_is_shipped_is_what_the_models_say(role: Role) -> None:
    advice = f"run: tidegate schema {role.value} > schemas/{role.value}.schema.json"

    assert schema_file(role).read_text(encoding="ascii") == schema_text(role), advice


@every_role
def test_it_is_a_json_schema_of_draft_2020_12(role: Role) -> None:
    assert written(role)["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(written(role))


@every_role
def test_every_key_is_described_with_what_it_is_when_left_out(role: Role) -> None:
    for name, schema, is_required in properties(written(role)):
        description = schema["description"]
        assert description[0].isupper(), name
        assert description.endswith("."), name
        assert "``" not in description, name
        assert description.count("Default: ") == (0 if is_required else 1), name


@every_role
def test_whoever_a_pattern_refuses_is_told_in_the_words_beside_the_key(role: Role) -> None:
    schema = written(role)
    text = json.dumps(schema["properties"])

    for name, definition in schema["$defs"].items():
        assert f'"#/$defs/{name}"' in text
        assert ("pattern" in definition) == ("patternErrorMessage" in definition)
        told = json.dumps(definition.get("patternErrorMessage", "Expected: ")).strip('"')
        assert told.removeprefix("Expected: ") in text


@pytest.mark.parametrize("full", [CLIENTS, CLIENT], ids=["gateway", "client"])
def test_what_is_left_out_means_what_the_schema_says(full: dict[str, Any]) -> None:
    role = role_of(full)
    section = full[role.value]
    bare = {
        "tidegate": 1,
        role.value: {key: section[key] for key in section if key in ("id", "gateways", "tls")},
    }
    told: dict[str, Any] = copy.deepcopy(bare)
    for name, schema, _ in properties(written(role)):
        where, _, key = name.rpartition(".")
        if "default" in schema and "[]" not in where:
            (told[role.value] if where else told)[key] = schema["default"]

    assert told != bare
    assert parse_state([Document(told, name="a", directory="/d")]) == parse_state(
        [Document(bare, name="a", directory="/d")]
    )


@every_role
def test_the_examples_in_a_schema_are_right(role: Role) -> None:
    for name, schema, _ in properties(written(role)):
        for example in schema.get("examples", ()):
            here = {"$defs": written(role)["$defs"], **schema}
            assert list(Draft202012Validator(here).iter_errors(example)) == [], name


@pytest.mark.parametrize("full", FULL.values(), ids=FULL)
def test_a_file_with_everything_in_it_is_taken(full: dict[str, Any]) -> None:
    assert is_accepted(full)
    assert refusals(role_of(full), full) == []


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.name)
def test_a_valid_file_is_taken(path: Any) -> None:
    value = read_document(path.read_bytes(), name="a", directory="/d", syntax=syntax_for(path.name)).value

    assert refusals(role_of(value), value) == []


def test_an_invalid_file_that_can_be_read_is_refused_unless_its_entries_clash() -> None:
    taken = set()
    for path in INVALID:
        try:
            value = read_document(
                path.read_bytes(), name="a", directory="/d", syntax=syntax_for(path.name)
            ).value
        except StateError:
            continue
        if not refusals(role_of(value), value):
            taken.add(path.name)

    assert taken == ONLY_CHECK_REFUSES


@pytest.mark.parametrize("full", FULL.values(), ids=FULL)
def test_whatever_stands_in_the_wrong_place_is_refused_where_check_refuses_it(full: dict[str, Any]) -> None:
    for path in paths(full):
        for wrong in WRONG:
            changed = put(full, path, wrong)
            assert (refusals(role_of(full), changed) == []) == is_accepted(changed), (path, wrong)


@pytest.mark.parametrize("full", FULL.values(), ids=FULL)
def test_whatever_is_missing_is_missed_where_check_misses_it(full: dict[str, Any]) -> None:
    for path in paths(full):
        changed = without(full, path)
        assert (refusals(role_of(full), changed) == []) == is_accepted(changed), path


@pytest.mark.parametrize("key", ["lisen", "declared_by", "socks5", ""])
@pytest.mark.parametrize("full", FULL.values(), ids=FULL)
def test_a_key_that_does_not_exist_is_refused_wherever_it_stands(full: dict[str, Any], key: str) -> None:
    for path in [(), *paths(full)]:
        if isinstance(at(full, path), dict) and path != ("services",):
            changed = put(full, (*path, key), "x")
            assert not is_accepted(changed), path
            assert refusals(role_of(full), changed), path


@pytest.mark.parametrize("count", [MAX_SERVICES, MAX_SERVICES + 1])
def test_a_client_may_have_as_many_services_as_check_allows(count: int) -> None:
    changed = put(CLIENT, ("services",), {f"s{number}": "127.0.0.1:1" for number in range(count)})

    assert (refusals(Role.CLIENT, changed) == []) == is_accepted(changed) == (count == MAX_SERVICES)


def test_a_client_that_is_listed_twice_is_refused() -> None:
    changed = put(CLIENTS, ("clients", 1, "id"), "homelab")

    assert not is_accepted(changed)
    assert refusals(Role.GATEWAY, changed)


@pytest.mark.parametrize(("full", "path", "value"), BEYOND_A_SCHEMA.values(), ids=BEYOND_A_SCHEMA)
def test_some_mistakes_only_check_can_see(full: dict[str, Any], path: Path, value: object) -> None:
    changed = put(full, path, value)

    assert not is_accepted(changed)
    assert refusals(role_of(full), changed) == []


@given(st.data(), st.sampled_from(sorted(FULL)))
def test_whatever_check_takes_the_schema_takes(data: st.DataObject, name: str) -> None:
    full = FULL[name]
    path = data.draw(st.sampled_from(sorted(paths(full), key=repr)))
    changed = put(full, path, data.draw(TEXTS | st.lists(TEXTS, max_size=3) | JSON_LIKE))

    if is_accepted(changed):
        assert refusals(role_of(full), changed) == []


@given(STATE_LIKE)
def test_any_value_can_be_held_against_a_schema(value: dict[str, object]) -> None:
    for role in Role:
        if not refusals(role, value):
            assert role.value in value


@every_role
def test_a_state_of_the_other_role_is_refused(role: Role) -> None:
    assert not validator(role.other).is_valid(CLIENTS if role is Role.GATEWAY else CLIENT)
