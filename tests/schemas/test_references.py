from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.references import EnvRef, FileRef, InlinePem, parse_reference, resolve_path

PEM = "-----BEGIN PRIVATE KEY-----\nmade up\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("value", "reference"),
    [
        ("pki/gateway.key", FileRef("/etc/tidegate/pki/gateway.key")),
        ("/run/secrets/key", FileRef("/run/secrets/key")),
        ({"file": "pki/gateway.key"}, FileRef("/etc/tidegate/pki/gateway.key")),
        ({"env": "GATEWAY_KEY"}, EnvRef("GATEWAY_KEY")),
        (PEM, InlinePem(PEM)),
        (f"a comment\n{PEM}", InlinePem(f"a comment\n{PEM}")),
    ],
)
def test_a_reference_is_a_path_a_variable_or_the_text_itself(
    value: object, reference: FileRef | EnvRef | InlinePem
) -> None:
    assert parse_reference(value, directory="/etc/tidegate") == reference
    assert parse_reference(reference, directory="elsewhere") == reference


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "~/key",
        "a\nb",
        7,
        None,
        True,
        ["a"],
        {},
        {"file": 1},
        {"file": "a", "env": "b"},
        {"fiel": "a"},
        {"env": "not a name"},
        {"file": PEM},
    ],
)
def test_anything_else_is_no_reference_and_the_message_says_what_to_write(value: object) -> None:
    with pytest.raises(ValueError, match="write"):
        parse_reference(value, directory="")


@given(st.text().map(lambda text: f"s3cr3t{text}"))
def test_no_message_quotes_what_stands_in_a_reference(secret: str) -> None:
    for value in (f"~{secret}", f"\n{secret}", {"env": f"{secret}!"}, [secret], {"x": secret}, {secret: "x"}):
        with pytest.raises(ValueError, match="write") as caught:
            parse_reference(value, directory="")
        assert "s3cr3t" not in str(caught.value)


def test_inline_pem_is_hidden_from_whoever_prints_it() -> None:
    assert "made up" not in repr(InlinePem(PEM))


def test_a_relative_path_starts_at_the_directory_of_its_file() -> None:
    assert resolve_path("run/a.sock", directory="/etc/tidegate") == "/etc/tidegate/run/a.sock"
    assert resolve_path("a.sock", directory="states") == "states/a.sock"
    assert resolve_path("/run/a.sock", directory="states") == "/run/a.sock"
