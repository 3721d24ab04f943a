"""Which certificates are refused, and why."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from agent.gateway.revocation import Revocations, ShownCertificate, fingerprint_of, serial_in
from schemas.state import Revocation

DER = b"a certificate"
OURS = {"serialNumber": "4F2A"}
FINGERPRINT = hashlib.sha256(DER).hexdigest()


class List:
    """A list that says what it was told to, and remembers of whom it was asked."""

    def __init__(self, says: bool) -> None:
        self.says = says
        self.asked: list[Sequence[bytes]] = []

    def revokes(self, chain: Sequence[bytes]) -> bool:
        self.asked.append(chain)
        return self.says


def named(**what: object) -> Revocation:
    """An entry as it stands in a file."""
    return Revocation.model_validate(what)


def refuses(*entries: Revocation, lists: List | None = None) -> bool:
    return Revocations(entries, lists).refuse(OURS, lambda: (DER, b"its authority"))


@pytest.mark.parametrize(
    "entry",
    [
        named(serial="4f:2a"),
        named(serial=0x4F2A),
        named(fingerprint=FINGERPRINT),
        named(fingerprint=f"SHA256:{FINGERPRINT.upper()}"),
        named(serial="0x4f2a", fingerprint=FINGERPRINT),
    ],
)
def test_a_certificate_that_the_file_names_is_refused(entry: Revocation) -> None:
    assert refuses(named(serial=1), entry)


@pytest.mark.parametrize(
    "entry",
    [
        named(serial="4f:2b"),
        named(serial=0x4F2A00),
        named(fingerprint="0" * 64),
        named(serial="4f:2a", fingerprint="0" * 64),
        named(serial="4f:2b", fingerprint=FINGERPRINT),
    ],
)
def test_another_certificate_is_not(entry: Revocation) -> None:
    assert not refuses(entry)


def test_what_is_revoked_is_the_peers_own_certificate_and_not_one_above_it() -> None:
    assert not refuses(named(fingerprint=fingerprint_of(b"its authority")))


@pytest.mark.parametrize("says", [True, False])
def test_a_list_has_its_say_on_the_whole_chain(says: bool) -> None:
    lists = List(says)

    assert refuses(lists=lists) is says
    assert lists.asked == [(DER, b"its authority")]


def test_who_is_named_in_the_file_is_refused_whatever_the_list_says() -> None:
    assert refuses(named(serial="4f:2a"), lists=List(False))


def test_the_chain_is_asked_for_only_if_anything_is_revoked() -> None:
    def chain() -> Sequence[bytes]:
        raise AssertionError("nobody needs it")

    assert not Revocations().refuse(OURS, chain)


def test_who_has_shown_no_certificate_has_none_that_is_revoked() -> None:
    assert not Revocations([named(serial=1)], List(True)).refuse({}, tuple)


@pytest.mark.parametrize(("text", "serial"), [("4F2A", 0x4F2A), ("-01", -1), ("", None)])
def test_the_number_is_read_as_openssl_writes_it(text: str, serial: int | None) -> None:
    assert serial_in({"serialNumber": text} if text else {}) == serial


def test_a_certificate_is_named_as_a_state_file_names_it() -> None:
    shown = ShownCertificate.of(OURS, [DER])

    assert refuses(named(serial=shown.serial, fingerprint=shown.fingerprint))
    assert shown == ShownCertificate(serial="4f:2a", fingerprint=FINGERPRINT)
