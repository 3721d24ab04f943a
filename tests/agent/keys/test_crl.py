"""Whom revocation lists revoke, and whom they do not."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from agent.keys.certificates import Credentials, create_authority
from agent.keys.crl import MAX_LISTS, MAX_SIZE, CrlError, RevocationLists, read_lists
from tests.support import pki
from tests.support.authorities import NOW, der, entry, revocation_list, serial, signed
from tests.support.real_software import Programs

OURS = pki.authority()
THEIRS = pki.authority("Somebody else")
SEVENTH = signed("homelab", OURS, serial=7)
WHOLE = revocation_list(OURS, 7, encoding=Encoding.DER)


def read(data: bytes, *authorities: Credentials) -> RevocationLists:
    trusted = b"".join(authority.certificate for authority in authorities or (OURS,))
    return read_lists(data, authorities=trusted, name="crl.pem")


def refusal(data: bytes, *authorities: Credentials) -> str:
    with pytest.raises(CrlError) as caught:
        read(data, *authorities)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_who_is_on_the_list_is_revoked_and_nobody_else(encoding: Encoding) -> None:
    stolen, kept = pki.client("stolen"), pki.client("kept")

    lists = read(revocation_list(OURS, serial(stolen), encoding=encoding))

    assert lists.revokes([der(stolen)])
    assert not lists.revokes([der(kept)])
    assert len(lists) == 1


def test_a_renewed_certificate_of_the_same_client_is_not_revoked() -> None:
    stolen, renewed = pki.client("homelab"), pki.client("homelab")

    assert not read(revocation_list(OURS, serial(stolen))).revokes([der(renewed)])


def test_a_number_that_another_authority_revoked_means_nothing_for_ours() -> None:
    ours, theirs = signed("homelab", OURS, serial=7), signed("homelab", THEIRS, serial=7)

    lists = read(revocation_list(THEIRS, 7), OURS, THEIRS)

    assert lists.revokes([der(theirs)])
    assert not lists.revokes([der(ours)])


def test_a_number_that_an_authority_of_the_same_name_revoked_means_nothing_for_ours() -> None:
    namesake = create_authority(name="Test authority")
    ours, theirs = signed("homelab", OURS, serial=7), signed("homelab", namesake, serial=7)

    lists = read(revocation_list(namesake, 7), OURS, namesake)

    assert lists.revokes([der(theirs)])
    assert not lists.revokes([der(ours)])


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_a_file_may_hold_the_lists_of_several_authorities(encoding: Encoding) -> None:
    ours, theirs = pki.client("ours"), pki.client("theirs", signed_by=THEIRS)
    both = revocation_list(OURS, serial(ours), encoding=encoding) + revocation_list(
        THEIRS, serial(theirs), encoding=encoding
    )

    lists = read(both, OURS, THEIRS)

    assert lists.revokes([der(ours)])
    assert lists.revokes([der(theirs)])


def test_words_around_a_list_are_passed_over() -> None:
    stolen = pki.client()

    lists = read(b"# made on a Monday\n" + revocation_list(OURS, serial(stolen)) + b"\nthe end\n")

    assert lists.revokes([der(stolen)])


def test_a_client_below_an_authority_that_was_revoked_is_revoked() -> None:
    below = signed("Below", OURS, is_authority=True)
    client = signed("homelab", below)

    lists = read(revocation_list(OURS, serial(below)))

    assert lists.revokes([der(client), der(below), der(OURS)])
    assert not lists.revokes([der(pki.client()), der(OURS)])


def test_an_authority_below_another_revokes_what_it_has_signed_itself() -> None:
    below = signed("Below", OURS, is_authority=True)
    stolen, same_number = signed("stolen", below, serial=7), signed("homelab", OURS, serial=7)

    for lists in (read(revocation_list(below, 7)), read(revocation_list(below, 7), OURS, below)):
        assert lists.revokes([der(stolen), der(below), der(OURS)])
        assert not lists.revokes([der(same_number), der(OURS)])


def test_a_list_signed_by_somebody_else_in_the_name_of_an_authority_below_ours_revokes_nobody() -> None:
    below = signed("Below", OURS, is_authority=True)
    client = signed("homelab", below, serial=7)

    lists = read(revocation_list(THEIRS, 7, issuer="Below"))

    assert not lists.revokes([der(client), der(below), der(OURS)])


def test_a_list_that_is_not_signed_by_our_authority_of_that_name_is_refused() -> None:
    forged = revocation_list(THEIRS, 7, issuer="Test authority")

    assert refusal(forged) == (
        'crl.pem: the revocation list of "CN=Test authority" is not signed by the authority of that name in '
        "client_ca: get it from there, or make one with tidegate pki revoke"
    )


def test_a_list_of_an_authority_that_is_not_ours_revokes_nobody_and_is_told_of() -> None:
    lists = read(revocation_list(THEIRS, 7))

    assert not lists.revokes([der(signed("homelab", OURS, serial=7))])
    (warning,) = lists.warnings(NOW)
    assert "is of no authority in client_ca" in warning


def test_a_list_that_was_to_be_replaced_counts_and_is_told_of() -> None:
    stolen = pki.client()
    lists = read(revocation_list(OURS, serial(stolen), end=NOW + timedelta(hours=1)))

    assert lists.warnings(datetime.now(UTC)) == ()
    (warning,) = lists.warnings(NOW + timedelta(hours=2))
    assert "was to be replaced by" in warning
    assert lists.revokes([der(stolen)])


def test_a_list_of_tomorrow_counts_and_is_told_of() -> None:
    stolen, tomorrow = pki.client(), NOW + timedelta(days=1)

    lists = read(revocation_list(OURS, serial(stolen), start=tomorrow, end=tomorrow + timedelta(days=1)))

    assert "which is yet to come" in "".join(lists.warnings(NOW))
    assert lists.revokes([der(stolen)])


def test_entries_of_an_indirect_list_count_for_its_own_issuer_only() -> None:
    indirect = x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier("http://crl.example.com/all")],
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=True,
        only_contains_attribute_certs=False,
    )

    def of(name: str) -> x509.CertificateIssuer:
        names = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return x509.CertificateIssuer([x509.DirectoryName(names)])

    entries = [
        entry(1),
        entry(2, of("Somebody else")),
        entry(3),  # of the same as the one before
        entry(4, of("Test authority")),
    ]
    lists = read(revocation_list(OURS, extensions=[indirect], entries=entries))

    revoked = [number for number in (1, 2, 3, 4) if lists.revokes([der(signed("c", OURS, serial=number))])]
    assert revoked == [1, 4]


def test_a_delta_list_adds_and_takes_nobody_in_whom_it_takes_off() -> None:
    entries = [entry(1), entry(2, x509.CRLReason(x509.ReasonFlags.remove_from_crl))]
    lists = read(revocation_list(OURS, extensions=[x509.DeltaCRLIndicator(1)], entries=entries))

    assert lists.revokes([der(signed("c", OURS, serial=1))])
    assert not lists.revokes([der(signed("c", OURS, serial=2))])


def test_a_certificate_on_hold_is_revoked() -> None:
    held = entry(1, x509.CRLReason(x509.ReasonFlags.certificate_hold))

    assert read(revocation_list(OURS, entries=[held])).revokes([der(signed("c", OURS, serial=1))])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"hello", "neither PEM nor DER"),
        (b"\x30", "neither PEM nor DER"),
        (b"\x30\x80\x00\x00", "neither PEM nor DER"),
        (b"\x30\x03\x02\x01\x01", "cannot be read as a revocation list"),
        (OURS.certificate, "holds CERTIFICATE where a revocation list belongs"),
        (OURS.key, "holds PRIVATE KEY where a revocation list belongs"),
        (revocation_list(OURS, 1)[:-30], "is cut off"),
        (revocation_list(OURS, 1, encoding=Encoding.DER)[:-1], "is cut off"),
        (revocation_list(OURS, 1).replace(b"\n", b"\n!", 2), "cannot be read as a revocation list"),
        (b"0" * (MAX_SIZE + 1), "more than 8 MiB"),
        (revocation_list(OURS) * (MAX_LISTS + 1), "leave at most 64"),
    ],
)
def test_what_is_no_list_is_refused_with_what_to_do(data: bytes, words: str) -> None:
    assert words in refusal(data)


def test_no_message_shows_a_key() -> None:
    assert OURS.key.splitlines()[1].decode() not in refusal(OURS.key)


@given(st.binary(max_size=200))
def test_bytes_are_lists_or_refused(data: bytes) -> None:
    with suppress(CrlError):
        read(data)


@given(st.data())
def test_a_damaged_list_is_refused_or_revokes_nobody_else(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(WHOLE) - 1))
    damaged = WHOLE[:at] + bytes([WHOLE[at] ^ 1 << data.draw(st.integers(0, 7))]) + WHOLE[at + 1 :]

    try:
        lists = read(damaged)
    except CrlError:
        return
    # It differs where no signature looks, or in its name, and then it is nobody's whom we know.
    assert not lists.revokes([der(pki.client())])
    assert lists.revokes([der(SEVENTH)]) or lists.warnings(NOW)


def test_certificates_that_cannot_be_read_are_no_reason_to_fail() -> None:
    assert not read(revocation_list(OURS, 7)).revokes([b"no certificate"])
    assert not read(revocation_list(OURS, 7)).revokes([])


@pytest.mark.real_software("openssl")
def test_lists_that_openssl_makes_are_read(tmp_path: Path, programs: Programs) -> None:
    def openssl(*arguments: str) -> None:
        subprocess.run([programs["openssl"], *arguments], cwd=tmp_path, capture_output=True, check=True)

    (tmp_path / "index").touch()
    (tmp_path / "number").write_text("1000\n")
    (tmp_path / "openssl.cnf").write_text(
        "[ca]\ndefault_ca=own\n[own]\ndatabase=index\nserial=number\ncrlnumber=number\nnew_certs_dir=.\n"
        "certificate=ca.crt\nprivate_key=ca.key\ndefault_md=sha256\ndefault_days=30\ndefault_crl_days=7\n"
        "policy=any\n[any]\ncommonName=supplied\n[req]\ndistinguished_name=dn\n[dn]\n"
    )
    fresh = ("req", "-newkey", "rsa:2048", "-nodes")
    openssl(*fresh, "-x509", "-subj", "/CN=Shop", "-keyout", "ca.key", "-out", "ca.crt")
    for name in ("stolen", "kept"):
        openssl(*fresh, "-subj", f"/CN={name}", "-keyout", "key", "-out", name)
        openssl("ca", "-batch", "-notext", "-config", "openssl.cnf", "-in", name, "-out", f"{name}.crt")
    openssl("ca", "-config", "openssl.cnf", "-revoke", "stolen.crt", "-crl_reason", "keyCompromise")
    openssl("ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem")
    openssl("crl", "-in", "crl.pem", "-outform", "DER", "-out", "crl.der")
    authority = Credentials(certificate=(tmp_path / "ca.crt").read_bytes(), key=b"")
    chains = {
        name: [der(Credentials(certificate=(tmp_path / f"{name}.crt").read_bytes(), key=b""))]
        for name in ("stolen", "kept")
    }

    for file in ("crl.pem", "crl.der"):
        lists = read((tmp_path / file).read_bytes(), authority)
        assert [name for name, chain in chains.items() if lists.revokes(chain)] == ["stolen"]
        assert lists.warnings(datetime.now(UTC)) == ()
