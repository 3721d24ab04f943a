from __future__ import annotations

import pytest
from hypothesis import given

from schemas.wording import misplaced, unknown_key

from .reading import CLIENT, GATEWAY, problems_of
from .values import PRINTABLE

KEYS = ("name", "listen")


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("lisen", 'unknown key "lisen"; did you mean "listen"?'),
        ("colour", 'unknown key "colour"; the keys of a tunnel are name, listen'),
        ("name:web", 'unknown key "name:web"; write a space after the colon'),
        ("x" * 41, "unknown key of 41 characters; the keys of a tunnel are name, listen"),
    ],
)
def test_an_unknown_key_is_told_what_it_could_have_been(key: str, said: str) -> None:
    assert unknown_key(key, KEYS, of="a tunnel") == said


def test_something_with_one_key_says_so() -> None:
    assert unknown_key("colour", ("id",), of="this client").endswith("the only key of this client is id")


def test_a_misplaced_value_is_described_with_what_belongs_there() -> None:
    assert misplaced(7, "a name", "write one") == "the number 7 stands where a name belongs; write one"


def test_a_misspelled_key_is_reported_once_and_not_also_as_missing() -> None:
    said = problems_of(GATEWAY + 'tunnels:\n  - {name: a, lisen: ":1", clients: home, service: web}\n')
    assert said == [
        'a.yaml:5:15: unknown key "lisen"; did you mean "listen"?',
        'a.yaml:5:28: unknown key "clients"; did you mean "client"?',
    ]


def test_a_key_that_only_tidegate_writes_is_not_offered_to_others() -> None:
    (said,) = problems_of(
        GATEWAY + 'tunnels:\n  - {name: a, listen: ":1", client: home, service: web, colour: red}\n'
    )
    assert "declared_by" not in said


@given(PRINTABLE.map(lambda text: f"s3cr3t{text}"))
def test_nothing_below_tls_is_ever_shown(secret: str) -> None:
    quoted = "'" + secret.replace("'", "''") + "'"
    for value in (
        quoted,
        f"[{quoted}]",
        f"{{cert: [{quoted}], key: {{env: {quoted}}}, client_ca: {{x: {quoted}}}}}",
        f"{{cert: ~{secret[:6]}, key: {{file: [{quoted}]}}, ca: {quoted}}}",
    ):
        for text in (
            GATEWAY.replace("{cert: gateway.crt, key: gateway.key, client_ca: ca.crt}", value),
            CLIENT.replace("{cert: homelab.crt, key: homelab.key, ca: ca.crt}", value),
        ):
            said = problems_of(text)
            assert said
            assert not any("s3cr3t" in line for line in said)
