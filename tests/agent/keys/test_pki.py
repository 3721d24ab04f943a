"""The directory that ``tidegate pki`` writes, and what OpenSSL makes of it."""

from __future__ import annotations

import os
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509

from agent.keys.crl import read_lists
from agent.keys.pki import (
    Issued,
    PkiError,
    begin_list,
    init_authority,
    issue_client,
    issue_gateway,
    revoke_client,
    revoke_serial,
)
from tests.support.real_software import Programs


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def listed(pki: Path) -> list[int]:
    """The numbers on the authority's list."""
    return [one.serial_number for one in x509.load_pem_x509_crl((pki / "crl.pem").read_bytes())]


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    directory = tmp_path / "deep" / "pki"
    init_authority(directory)
    return directory


def test_keys_are_for_the_owner_alone_and_certificates_for_everybody(pki: Path) -> None:
    old = os.umask(0)
    try:
        gateway = issue_gateway(pki, hosts=["localhost"])
        open_directory = pki.parent / "open"
        init_authority(open_directory)
    finally:
        os.umask(old)

    assert (mode(gateway.key), mode(gateway.certificate)) == (0o600, 0o644)
    assert (mode(open_directory), mode(open_directory / "ca.key")) == (0o700, 0o600)


def test_certificates_are_readable_whatever_the_umask(pki: Path) -> None:
    old = os.umask(0o077)
    try:
        client = issue_client(pki, client_id="homelab")
    finally:
        os.umask(old)

    assert mode(client.certificate) == 0o644


def test_the_mode_of_a_directory_that_was_there_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    init_authority(tmp_path)

    assert mode(tmp_path) == 0o755


def test_files_are_named_after_what_they_are_for(pki: Path) -> None:
    issue_gateway(pki, hosts=["localhost"])
    issue_gateway(pki, hosts=["localhost"], name="gw2.example.com")
    client = issue_client(pki, client_id="homelab", domain="example.com")

    assert client == Issued(certificate=pki / "homelab.crt", key=pki / "homelab.key", expires=client.expires)
    assert sorted(path.name for path in pki.iterdir()) == [
        *("ca.crt", "ca.key", "crl.pem", "gateway.crt", "gateway.key"),
        *("gw2.example.com.crt", "gw2.example.com.key", "homelab.crt", "homelab.key"),
    ]


@pytest.mark.parametrize("there", ["homelab.key", "homelab.crt"])
def test_a_file_that_exists_is_left_as_it_is_and_nothing_is_written_beside_it(pki: Path, there: str) -> None:
    (pki / there).write_bytes(b"precious")

    with pytest.raises(PkiError, match=rf"{there} exists already .* or replace it with --force$"):
        issue_client(pki, client_id="homelab")

    assert (pki / there).read_bytes() == b"precious"
    assert sorted(path.name for path in pki.iterdir()) == sorted(["ca.crt", "ca.key", "crl.pem", there])


def test_a_dangling_link_in_the_place_of_a_key_is_not_written_through(pki: Path, tmp_path: Path) -> None:
    (pki / "homelab.key").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(PkiError, match="exists already"):
        issue_client(pki, client_id="homelab")

    assert not (tmp_path / "elsewhere").exists()


def test_force_replaces_both_files(pki: Path) -> None:
    first = issue_client(pki, client_id="homelab")
    key, certificate = first.key.read_bytes(), first.certificate.read_bytes()
    first.key.chmod(0o644)

    second = issue_client(pki, client_id="homelab", force=True)

    assert second.key.read_bytes() != key
    assert second.certificate.read_bytes() != certificate
    assert mode(second.key) == 0o600


def test_a_second_authority_is_refused_with_what_replacing_it_would_do(pki: Path) -> None:
    key = (pki / "ca.key").read_bytes()

    with pytest.raises(PkiError, match="all that it signed becomes void"):
        init_authority(pki)

    assert (pki / "ca.key").read_bytes() == key


@pytest.mark.parametrize("name", ["ca", "CA"])
def test_no_name_leads_to_the_authoritys_own_files(pki: Path, name: str) -> None:
    key = (pki / "ca.key").read_bytes()

    with pytest.raises(PkiError, match="choose another name"):
        issue_client(pki, client_id=name, force=True)
    with pytest.raises(PkiError, match="choose another name"):
        issue_gateway(pki, name=name, hosts=["localhost"], force=True)

    assert (pki / "ca.key").read_bytes() == key


@pytest.mark.parametrize("name", ["../escape", "a/b", "", ".hidden", "a@b"])
def test_a_name_that_is_not_one_writes_nothing(pki: Path, name: str) -> None:
    before = sorted(pki.parent.rglob("*"))

    with pytest.raises(PkiError):
        issue_client(pki, client_id=name)

    assert sorted(pki.parent.rglob("*")) == before


def test_without_an_authority_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(PkiError, match="make one first with tidegate pki init"):
        issue_client(tmp_path / "nowhere", client_id="homelab")


def test_a_file_in_the_place_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "pki").write_text("")

    with pytest.raises(PkiError, match="is a file: name a directory"):
        init_authority(tmp_path / "pki")


def test_nothing_is_left_behind_when_writing_fails(pki: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PkiError, match="No space left on device"):
        issue_client(pki, client_id="homelab")

    assert sorted(path.name for path in pki.iterdir()) == ["ca.crt", "ca.key", "crl.pem"]


@pytest.mark.real_software("openssl")
def test_openssl_accepts_each_certificate_for_its_purpose_and_for_no_other(
    pki: Path, programs: Programs
) -> None:
    gateway = issue_gateway(pki, hosts=["gw1.example.com", "192.0.2.1"])
    client = issue_client(pki, client_id="homelab", domain="example.com")

    def verify(certificate: Path, *arguments: str) -> bool:
        command = [programs["openssl"], "verify", "-x509_strict", "-CAfile", str(pki / "ca.crt"), *arguments]
        return subprocess.run([*command, str(certificate)], capture_output=True, check=False).returncode == 0

    assert verify(pki / "ca.crt")
    assert verify(gateway.certificate, "-purpose", "sslserver", "-verify_hostname", "gw1.example.com")
    assert verify(gateway.certificate, "-purpose", "sslserver", "-verify_ip", "192.0.2.1")
    assert verify(client.certificate, "-purpose", "sslclient")
    assert not verify(gateway.certificate, "-purpose", "sslclient")
    assert not verify(client.certificate, "-purpose", "sslserver")
    assert not verify(gateway.certificate, "-purpose", "sslserver", "-verify_hostname", "gw2.example.com")


@pytest.mark.real_software("openssl")
def test_openssl_reads_the_keys(pki: Path, programs: Programs) -> None:
    client = issue_client(pki, client_id="homelab")

    command = [programs["openssl"], "pkey", "-in", str(client.key), "-noout", "-check"]
    assert b"is valid" in subprocess.run(command, capture_output=True, check=True).stdout


def test_an_authority_begins_with_a_list_that_nobody_is_on(pki: Path) -> None:
    lists = (pki / "crl.pem").read_bytes()
    authority = x509.load_pem_x509_certificate((pki / "ca.crt").read_bytes())

    assert listed(pki) == []
    assert mode(pki / "crl.pem") == 0o644
    assert x509.load_pem_x509_crl(lists).next_update_utc == authority.not_valid_after_utc
    assert len(read_lists(lists, authorities=(pki / "ca.crt").read_bytes(), name="crl")) == 0
    assert not begin_list(pki)
    assert (pki / "crl.pem").read_bytes() == lists


def test_a_directory_of_an_earlier_day_is_given_a_list(pki: Path) -> None:
    (pki / "crl.pem").unlink()

    assert begin_list(pki)
    assert listed(pki) == []
    revoke_serial(pki, serial=7)
    assert not begin_list(pki)
    assert listed(pki) == [7]


def test_the_list_of_another_authority_is_only_replaced_by_force(pki: Path) -> None:
    revoke_serial(pki, serial=7)
    for name in ("ca.crt", "ca.key"):
        (pki / name).unlink()

    with pytest.raises(PkiError, match=r"crl\.pem exists already"):
        init_authority(pki)
    assert sorted(path.name for path in pki.iterdir()) == ["crl.pem"]
    init_authority(pki, force=True)

    assert listed(pki) == []


def test_a_revoked_client_is_on_the_authoritys_list_and_stays_there(pki: Path) -> None:
    issue_client(pki, client_id="homelab")
    issue_client(pki, client_id="office")

    first = revoke_client(pki, name="homelab")
    second = revoke_client(pki, name="office")

    assert first.path == second.path == pki / "crl.pem"
    assert listed(pki) == [first.serial, second.serial]
    assert mode(first.path) == 0o644
    assert (first.is_new, second.is_new) == (True, True)
    assert not revoke_client(pki, name="office").is_new


def test_a_certificate_that_is_gone_is_revoked_by_its_number(pki: Path) -> None:
    issue_client(pki, client_id="homelab")
    issue_client(pki, client_id="homelab", force=True)

    revoked = revoke_serial(pki, serial=0x4F2A)

    assert (revoked.serial, listed(pki)) == (0x4F2A, [0x4F2A])


def test_what_cannot_be_revoked_is_told_with_what_to_do(pki: Path, tmp_path: Path) -> None:
    with pytest.raises(PkiError, match="tidegate pki init"):
        revoke_serial(tmp_path, serial=7)
    for serial in (0, -7, 1 << 160):
        with pytest.raises(PkiError, match="is the number of no certificate"):
            revoke_serial(pki, serial=serial)
    with pytest.raises(PkiError, match="name its number with --serial"):
        revoke_client(pki, name="nobody")
    with pytest.raises(PkiError, match="is the name of the authority's own files"):
        revoke_client(pki, name="ca")
    issue_client(pki, client_id="homelab")
    (pki / "crl.pem").write_text("hello\n")
    with pytest.raises(PkiError, match=r"crl\.pem: it is no revocation list"):
        revoke_client(pki, name="homelab")
    assert (pki / "crl.pem").read_text() == "hello\n"


def test_many_who_revoke_at_a_time_lose_nobody(pki: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda serial: revoke_serial(pki, serial=serial), range(1, 21)))

    assert sorted(listed(pki)) == list(range(1, 21))


@pytest.mark.real_software("openssl")
def test_openssl_turns_away_whom_the_list_revokes(pki: Path, programs: Programs) -> None:
    stolen, kept = (issue_client(pki, client_id=client) for client in ("stolen", "kept"))
    revoked = revoke_client(pki, name="stolen")

    def verify(certificate: Path) -> str:
        authority = ("-CAfile", str(pki / "ca.crt"), "-CRLfile", str(revoked.path))
        command = [programs["openssl"], "verify", "-x509_strict", "-crl_check", *authority, str(certificate)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    assert "certificate revoked" in verify(stolen.certificate)
    assert verify(kept.certificate) == f"{kept.certificate}: OK\n"
