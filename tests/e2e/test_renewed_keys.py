"""Keys are renewed under a gateway that serves: new handshakes see the new ones, and nobody is dropped."""

from __future__ import annotations

import os
import re
import shutil
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from agent.keys.certificates import Credentials, sign_client, sign_gateway
from tests.support import pki
from tests.support.bystanders import MEGABYTES, bystanders
from tests.support.downloads import Download, download_server
from tests.support.listening import listening_inodes
from tests.support.real_software import Programs
from tests.support.site import Agent, Site, site
from tests.support.tools import s_client

OTHERS = pki.authority("Others")


class Renewed:
    """A gateway whose keys are about to be renewed, and a client with a download under way."""

    def __init__(self, place: Site, downloads: str) -> None:
        self.place = place
        self.downloads = downloads
        self.tunnel, self.management = place.listen(), place.listen()
        self.gateway: Agent

    def start(self, **tls: str) -> None:
        """With these files in place of the usual ones."""
        usual = {"cert": "pki/gateway.crt", "key": "pki/gateway.key", "client_ca": "pki/ca.crt"}
        self.gateway, _ = self.place.start_both(
            [{"name": "t", "listen": self.tunnel, "client": "homelab", "service": "download"}],
            {"download": self.downloads},
            management=self.management,
            tls={**usual, **tls},
        )

    @property
    def authority(self) -> Credentials:
        return Credentials(
            certificate=(self.place.pki / "ca.crt").read_bytes(), key=(self.place.pki / "ca.key").read_bytes()
        )

    def sign(self) -> Credentials:
        """Another pair for the gateway."""
        return sign_gateway(self.authority, name="gateway", hosts=[self.place.address])

    def shown(self) -> set[str]:
        """The serials that the control port and the management port show to whoever comes now."""
        found = set()
        for listen in (self.place.control, self.management):
            host, _, port = listen.rpartition(":")
            found.add(serial(ssl.get_server_certificate((host, int(port))).encode()))
        return found


@contextmanager
def renewed_in(directory: Path, options: Sequence[str] = ()) -> Iterator[Renewed]:
    with (
        download_server("127.0.0.1", megabytes=MEGABYTES) as downloads,
        site(directory, options=options) as place,
    ):
        yield Renewed(place, downloads)


@pytest.fixture
def renewed(tmp_path: Path) -> Iterator[Renewed]:
    with renewed_in(tmp_path) as found:
        yield found


@pytest.fixture
def renewed_on_each_loop(tmp_path: Path, loop: Sequence[str]) -> Iterator[Renewed]:
    """Where it matters which library does TLS."""
    with renewed_in(tmp_path, loop) as found:
        yield found


def serial(certificate: bytes) -> str:
    """As OpenSSL writes it, and the log does."""
    number = f"{x509.load_pem_x509_certificate(certificate).serial_number:X}"
    return number.zfill(len(number) + len(number) % 2)


# Ways to renew. Each puts the files gateway.crt and gateway.key into a directory.

Renew = Callable[[Path, Credentials], None]


def rename_over(directory: Path, new: Credentials) -> None:
    """As Ansible, step and most others do."""
    for name, content in (("gateway.crt", new.certificate), ("gateway.key", new.key)):
        (directory / f".{name}.new").write_bytes(content)
        (directory / f".{name}.new").replace(directory / name)


def rewrite(directory: Path, new: Credentials) -> None:
    """As ``cp`` does."""
    (directory / "gateway.crt").write_bytes(new.certificate)
    (directory / "gateway.key").write_bytes(new.key)


def swap_links(directory: Path, new: Credentials) -> None:
    """As certbot does: a link for each file, into another directory."""
    archive = directory / "archive"
    archive.mkdir(exist_ok=True)
    number = len(list(archive.iterdir()))
    for name, content in (("gateway.crt", new.certificate), ("gateway.key", new.key)):
        (archive / f"{number}-{name}").write_bytes(content)
        (directory / f"{name}.new").symlink_to(f"archive/{number}-{name}")
        (directory / f"{name}.new").replace(directory / name)


def swap_directory(directory: Path, new: Credentials) -> None:
    """As Kubernetes does: one link to a directory of both, so both change in one moment."""
    version = directory / f"..{len(list(directory.iterdir()))}"
    version.mkdir()
    rewrite(version, new)
    (directory / "..data_tmp").symlink_to(version.name)
    (directory / "..data_tmp").replace(directory / "..data")
    for name in ("gateway.crt", "gateway.key"):
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")


@pytest.mark.parametrize("renew", [rename_over, rewrite, swap_links, swap_directory])
def test_new_handshakes_see_the_new_certificate_and_what_runs_goes_on(renewed: Renewed, renew: Renew) -> None:
    """The same sockets listen, and a download through a session of before is whole at its end."""
    live = renewed.place.directory / "live"
    live.mkdir()
    first = renewed.sign()
    renew(live, first)
    renewed.start(cert="live/gateway.crt", key="live/gateway.key")
    before = listening_inodes(renewed.place.address)
    with bystanders(renewed.tunnel) as others:
        assert renewed.shown() == {serial(first.certificate)}
        for new in (renewed.sign(), renewed.sign()):
            renew(live, new)

            line = renewed.gateway.wait_for("keys_renewed", serial=serial(new.certificate))

            assert line["cert"].endswith("live/gateway.crt")
            assert renewed.shown() == {serial(new.certificate)}
            others.assert_undisturbed()
    assert listening_inodes(renewed.place.address) == before
    renewed.place.start("client", renewed.place.client_file({}, id="office")).wait_for("link_up")
    assert "client_disconnected" not in renewed.gateway.log


def test_a_pair_that_does_not_belong_together_changes_nothing_and_heals(renewed: Renewed) -> None:
    renewed.start()
    first, new = (renewed.place.pki / "gateway.crt").read_bytes(), renewed.sign()
    with bystanders(renewed.tunnel) as others:
        (renewed.place.pki / "gateway.crt").write_bytes(new.certificate)

        reason = renewed.gateway.wait_for("keys_refused")["reason"]

        key, cert = renewed.place.pki / "gateway.key", renewed.place.pki / "gateway.crt"
        assert f"gateway.tls.key ({key}) is not the key of gateway.tls.cert ({cert})" in reason
        status = renewed.gateway.status()
        assert (status["warnings"], status["ready"]) == ([reason], True)
        assert renewed.shown() == {serial(first)}
        others.assert_undisturbed()

        (renewed.place.pki / "gateway.key").write_bytes(new.key)

        renewed.gateway.wait_for("keys_renewed", serial=serial(new.certificate))
        assert renewed.shown() == {serial(new.certificate)}
        assert renewed.gateway.status()["warnings"] == []


@pytest.mark.real_software("openssl")
def test_openssl_sees_the_new_certificate_on_both_ports(renewed: Renewed, programs: Programs) -> None:
    renewed.start()
    new = renewed.sign()
    rename_over(renewed.place.pki, new)
    renewed.gateway.wait_for("keys_renewed")
    ca = str(renewed.place.pki / "ca.crt")
    for listen in (renewed.place.control, renewed.management):
        said = s_client(programs["openssl"], listen, "-CAfile", ca, "-verify_return_error")
        (certificate,) = re.findall(
            r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", said, re.DOTALL
        )
        assert serial(certificate.encode()) == serial(new.certificate)


def test_a_client_whose_authority_is_gone_loses_its_session_and_the_other_one_does_not(
    renewed_on_each_loop: Renewed,
) -> None:
    """Both sides say why, and it is back as soon as its authority is."""
    renewed = renewed_on_each_loop
    place = renewed.place
    clients = place.pki / "clients.crt"
    both = renewed.authority.certificate + OTHERS.certificate
    clients.write_bytes(both)
    own = sign_client(OTHERS, client_id="office")
    (place.pki / "office.crt").write_bytes(own.certificate)
    (place.pki / "office.key").write_bytes(own.key)
    renewed.start(client_ca="pki/clients.crt")
    office = place.start("client", place.client_file({}, id="office"))
    renewed.gateway.wait_for("client_connected", client="office")
    with bystanders(renewed.tunnel) as others:
        mark = office.mark
        shutil.copy(place.pki / "ca.crt", place.pki / "clients.new")
        os.replace(place.pki / "clients.new", clients)  # noqa: PTH105 - as mv does it

        gone = renewed.gateway.wait_for("client_disconnected")

        assert gone["client"] == "office"
        assert "no longer vouch for this client's certificate: issue one that they sign" in gone["reason"]
        refused = renewed.gateway.wait_for("handshake_failed")["reason"]
        assert "not signed by the authority this side trusts" in refused
        assert office.wait_for("link_down", after=mark)["reason"] == f"refused: {gone['reason']}"
        while "may not accept this client's certificate" not in office.status()["links"][0]["message"]:
            pass  # it is trying again at this very moment
        others.assert_undisturbed()

        mark = office.mark
        clients.write_bytes(both)
        office.wait_for("link_up", after=mark)
        others.assert_undisturbed()


def test_other_paths_in_the_state_file_are_other_keys(renewed: Renewed) -> None:
    renewed.start()
    new = renewed.sign()
    moved = renewed.place.directory / "moved"
    moved.mkdir()
    rewrite(moved, new)
    with Download(renewed.tunnel, megabytes=MEGABYTES) as under_way:
        under_way.read(1 << 16)
        state = renewed.place.directory / "gateway.yaml"
        fresh = renewed.place.directory / "gateway.new"
        fresh.write_text(state.read_text().replace("pki/gateway.", "moved/gateway."))
        fresh.replace(state)
        renewed.gateway.wait_for("state_in_force", generation=2)
        assert renewed.shown() == {serial(new.certificate)}
        again = renewed.sign()
        rename_over(moved, again)
        renewed.gateway.wait_for("keys_renewed", serial=serial(again.certificate))
        assert renewed.shown() == {serial(again.certificate)}
        under_way.finish()
