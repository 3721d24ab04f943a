"""No key gets through, and what is no secret does."""

from __future__ import annotations

import json
import string
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from agent.logs.redaction import HIDDEN, is_secret_name, redact, redact_text
from schemas.references import InlinePem
from tests.support import pki

KEY = pki.client().key.decode()
PLAIN_PEM = (serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
RSA_KEY = (
    rsa.generate_private_key(public_exponent=65537, key_size=2048)
    .private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    .decode()
)


def leaks(shown: object, key: str = KEY) -> bool:
    """Whether any 12 characters in a row of a key's base64 are in what is shown."""
    text = json.dumps(shown).replace("\\n", "").replace("\\", "")
    body = "".join(line for line in key.splitlines() if not line.startswith("-----"))
    return any(body[start : start + 12] in text for start in range(len(body) - 12))


def test_the_check_of_these_tests_would_notice_a_key() -> None:
    assert leaks(KEY)
    assert leaks({"a": [repr(KEY)]})
    assert not leaks({"a": "b"})


@dataclass(frozen=True)
class Spec:
    pem: str
    shown: str = "shown"


@dataclass(frozen=True)
class Nested:
    inner: object = field(default=None)


class Cyclic(dict[str, object]):
    """A mapping that holds itself."""

    def __init__(self) -> None:
        super().__init__()
        self["self"] = self
        self["key"] = KEY


@pytest.mark.parametrize("key", [KEY, RSA_KEY], ids=["P-256", "RSA"])
@pytest.mark.parametrize(
    "bury",
    [
        lambda key: key,
        lambda key: key.encode(),
        lambda key: bytearray(key.encode()),
        lambda key: memoryview(key.encode()),
        lambda key: repr(key),
        lambda key: str(key.encode()),
        lambda key: json.dumps({"cert": key}),
        lambda key: f"before {key} after",
        lambda key: key[: len(key) // 2],
        lambda key: key[len(key) // 3 :],
        lambda key: key.replace("\n", "\r\n"),
        lambda key: key.replace("\n", "\n    "),
        lambda key: key.splitlines(),
        lambda key: [[[key]], {"a": {"b": (key,)}}],
        lambda key: {key: "as a key of a mapping"},
        lambda key: {"a": {key.encode()}},
        lambda key: ValueError(f"cannot parse {key!r}"),
        lambda key: Spec(pem=key),
        lambda key: Nested(inner=Nested(inner=[key])),
        lambda key: InlinePem(key),
        lambda key: Path("/") / key,
        lambda key: "x" * 40_000 + key,
        lambda key: "x" * 8_000 + key,
        lambda key: key[:50],
        lambda key: "x" * (2 * 8_192 - 20) + "\n" + key.partition("\n")[2],
        lambda _: Cyclic(),
        lambda key: key.replace("-----BEGIN", "----BEGIN"),
        lambda key: [1, 2, {"token": key[40:60]}],
    ],
)
def test_no_key_gets_through_however_it_is_buried(bury: Any, key: str) -> None:
    assert not leaks(redact(bury(key)), key)


@pytest.mark.parametrize(
    "make", [lambda: ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate]
)
def test_a_key_as_der_is_only_counted(make: Any) -> None:
    der = make().private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

    assert redact({"data": der}) == {"data": f"<{len(der)} bytes>"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc.def", f"Authorization: {HIDDEN}"),
        ("authorization: Basic dXNlcjpwYXNz\r\nhost: x", f"authorization: {HIDDEN}\r\nhost: x"),
        ("Set-Cookie: a=b; Path=/", f"Set-Cookie: {HIDDEN}"),
        ("https://user:hunter2@example.com/x", f"https://user:{HIDDEN}@example.com/x"),
        ("/login?user=u&token=abc&x=1", f"/login?user=u&token={HIDDEN}&x=1"),
        ('{"password": "with spaces", "x": 1}', f'{{"password": {HIDDEN}, "x": 1}}'),
        ("Login(user='u', password='p')", f"Login(user='u', password={HIDDEN})"),
        ("api_key=abc api-key: abc", f"api_key={HIDDEN} api-key: {HIDDEN}"),
    ],
)
def test_what_is_called_a_secret_in_a_text_is_hidden(text: str, shown: str) -> None:
    assert redact_text(text) == shown


@pytest.mark.parametrize(
    "name",
    [
        *("password", "Passphrase", "client_secret", "token", "access_token", "Authorization", "cookie"),
        *("private_key", "privateKey", "api-key", "tls_key", "key_pem", "pem", "credentials"),
    ],
)
def test_what_is_kept_under_the_name_of_a_secret_is_hidden(name: str) -> None:
    assert is_secret_name(name)
    assert redact({name: "x", "deep": [{name: ["y", 1]}]}) == {name: HIDDEN, "deep": [{name: HIDDEN}]}


@pytest.mark.parametrize(
    "name",
    [
        "key",
        "client",
        "reason",
        "resource",
        "hostname",
        "bytes_in",
        "digest",
        "generation",
        "address",
        "tunnel",
    ],
)
def test_the_names_that_our_events_use_are_not_taken_for_secrets(name: str) -> None:
    assert redact({name: "x"}) == {name: "x"}


@pytest.mark.parametrize(
    "text",
    [
        "listener 0.0.0.0:443",
        "a9993e364706816aba3e25717850c26c9cd0d89d" + "0123456789abcdef01234567",  # a SHA-256 digest
        "/srv/tidegate/some/very/long/path/to/a/directory/of/fragments/in/which/a/file/lies.yaml",
        "blog.example.com, *.blog.example.com",
        "the private key pki/gateway.key is open to others (mode 0644): run chmod 600 pki/gateway.key",
        "a" * 128,
        "one line\nanother line\n" + "f" * 64 + "\nA9z",
        "états-unis.example 日本",
    ],
)
def test_what_is_no_secret_is_shown_as_it_is(text: str) -> None:
    assert redact_text(text) == text


class Color(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


def test_values_become_what_json_can_say() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert redact(
        {
            "enum": [Color.RED, Level.HIGH],
            "time": datetime(2030, 1, 1, tzinfo=UTC),
            "nan": [float("nan"), 1.5],
        }
    ) == {"enum": ["red", 3], "time": "2030-01-01T00:00:00+00:00", "nan": ["nan", 1.5]}
    assert redact([None, True, (1,), frozenset({"x"}), ValueError("said")]) == [
        None,
        True,
        [1],
        ["x"],
        "said",
    ]
    assert redact(Broken()) == "<Broken that cannot be shown>"
    assert redact({1: "x"}) == {"1": "x"}
    assert redact({"password": None, "token": ""}) == {"password": None, "token": ""}


def test_a_mapping_that_cannot_be_read_does_no_harm() -> None:
    class Broken(dict[str, str]):
        def items(self) -> Any:
            raise RuntimeError

    assert redact(Broken()) == "<Broken that cannot be shown>"


def test_what_is_endless_is_cut_and_says_how_much_there_was() -> None:
    shown = redact_text("x " * 100_000)

    assert len(shown) < 10_000
    assert shown.endswith("… (200000 characters)")
    many = redact(list(range(100_000)))
    assert isinstance(many, list)
    assert len(many) < 2_000
    assert "more)" in str(many[-1])
    wide = redact({str(number): [[number] * 100] * 100 for number in range(1_000)})
    assert len(json.dumps(wide)) < 50_000


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(KEY),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(string.printable), inner) | st.tuples(inner),
    max_leaves=10,
)


@given(values)
def test_any_value_becomes_json_without_a_key(value: object) -> None:
    assert not leaks(json.loads(json.dumps(redact(value), allow_nan=False)))
