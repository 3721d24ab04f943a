"""What the revocation lists say that Tidegate makes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509

from agent.keys.certificates import Credentials, PkiError, create_authority
from agent.keys.crl import read_lists
from agent.keys.revoking import ListError, revoke, serial_of
from tests.support import pki
from tests.support.authorities import NOW, der, revocation_list, serial, signed

OURS = pki.authority()
THEIRS = pki.authority("Somebody else")


def revoked(*serials: int, before: bytes | None = None) -> bytes:
    after = revoke(OURS, serials, before=before)
    assert after is not None
    return after


def listed(pem: bytes) -> list[int]:
    return [one.serial_number for one in x509.load_pem_x509_crl(pem)]


def number(pem: bytes) -> int:
    return x509.load_pem_x509_crl(pem).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def test_a_gateway_of_the_authority_goes_by_the_list() -> None:
    stolen = pki.client()

    lists = read_lists(revoked(serial(stolen)), authorities=OURS.certificate, name="crl.pem")

    assert lists.revokes([der(stolen)])
    assert lists.warnings(NOW + timedelta(days=3000)) == ()


def test_a_list_grows_and_keeps_whom_it_had_as_they_were() -> None:
    first = revoked(7)
    second = revoked(9, before=first)

    assert (listed(first), listed(second)) == ([7], [7, 9])
    assert (number(first), number(second)) == (1, 2)
    dates = [x509.load_pem_x509_crl(pem)[0].revocation_date_utc for pem in (first, second)]
    assert dates[0] == dates[1]


def test_who_is_on_the_list_is_not_put_on_it_again() -> None:
    assert revoke(OURS, [7], before=revoked(7)) is None


def test_a_list_of_nobody_can_be_made() -> None:
    assert listed(revoked()) == []


def test_a_list_is_good_until_the_authority_ends() -> None:
    until = x509.load_pem_x509_crl(revoked(7)).next_update_utc

    assert until == x509.load_pem_x509_certificate(OURS.certificate).not_valid_after_utc


def test_a_list_that_somebody_else_made_for_the_authority_is_added_to() -> None:
    assert listed(revoked(9, before=revocation_list(OURS, 7))) == [7, 9]


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (b"", "it is no revocation list in PEM form"),
        (OURS.certificate, "it is no revocation list in PEM form"),
        (revocation_list(THEIRS, 7), "it is the revocation list of another authority"),
        (
            revocation_list(create_authority(name="Test authority"), 7),
            "it is the revocation list of another authority",
        ),
    ],
)
def test_nothing_is_added_to_what_is_not_the_authoritys_list(before: bytes, words: str) -> None:
    with pytest.raises(ListError, match=words):
        revoke(OURS, [9], before=before)


def test_the_number_of_a_certificate_is_told_by_the_authority_that_signed_it() -> None:
    client = signed("homelab", OURS, serial=7)

    assert serial_of(OURS, client.certificate) == 7
    with pytest.raises(PkiError, match="another authority signed it"):
        serial_of(THEIRS, client.certificate)
    with pytest.raises(PkiError, match="no certificate in PEM form"):
        serial_of(OURS, client.key)


def test_an_authority_without_its_key_revokes_nobody() -> None:
    with pytest.raises(PkiError, match="do not belong together"):
        revoke(Credentials(certificate=OURS.certificate, key=THEIRS.key), [7], before=None)
