"""The keys of the ports: all that name the same files change together, and only to something better."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.gateway.keyring import Keyring
from agent.keys.certificates import Credentials
from agent.keys.crl import MAX_SIZE, RevocationLists
from reconcile.actuator import ActionError
from schemas.errors import TidegateError
from schemas.references import FileRef
from schemas.state import TlsGateway
from tests.support import pki
from tests.support.authorities import NOW, revocation_list
from tests.support.journal import Journal
from transport.tls import ALPN

pytestmark = pytest.mark.anyio

OURS = pki.authority()


class Files:
    """The files of a gateway."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.has_lists = False
        self.put(pki.gateway())
        self.put_authority(pki.authority())

    @property
    def tls(self) -> TlsGateway:
        cert, key, ca, crl = (FileRef(str(self.directory / name)) for name in ("crt", "key", "ca", "crl"))
        return TlsGateway(cert=cert, key=key, client_ca=ca, crl=crl if self.has_lists else None)

    def put(self, own: Credentials) -> None:
        (self.directory / "crt").write_bytes(own.certificate)
        (self.directory / "key").write_bytes(own.key)

    def put_lists(self, lists: bytes) -> None:
        self.has_lists = True
        (self.directory / "crl").write_bytes(lists)

    def put_authority(self, authority: Credentials) -> None:
        (self.directory / "ca").write_bytes(authority.certificate)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "one")


class Told:
    """Who is told of authorities."""

    def __init__(self, keyring: Keyring) -> None:
        self.authorities: list[bytes] = []
        keyring.on_authorities = self._note

    async def _note(self, authorities: bytes) -> None:
        self.authorities.append(authorities)


def serial(shown: ssl.SSLContext) -> str:
    """What a peer sees in a handshake."""
    peer = ssl.create_default_context(cadata=pki.authority().certificate.decode())
    peer.check_hostname = False
    upward, downward = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = peer.wrap_bio(downward, upward), shown.wrap_bio(upward, downward, server_side=True)
    for _ in range(2):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                break  # the peer has shown no certificate, but it has seen one
    found = sides[0].getpeercert()
    assert found is not None
    return str(found["serialNumber"])


async def test_all_ports_of_the_same_files_change_together(files: Files) -> None:
    keyring = Keyring()
    control = await keyring.take(files.tls, alpn=(ALPN,))
    management = await keyring.take(files.tls, alpn=("http/1.1",))
    before = serial(control.context)
    assert await keyring.renew(files.tls) is None

    files.put(pki.gateway())
    renewed = await keyring.renew(files.tls)

    assert renewed is not None
    assert serial(control.context) == serial(management.context) == renewed["serial"] != before
    assert await keyring.renew(files.tls) is None


async def test_what_will_not_do_changes_nothing_and_a_port_opened_meanwhile_has_what_the_others_have(
    files: Files,
) -> None:
    keyring = Keyring()
    control = await keyring.take(files.tls, alpn=(ALPN,))
    context = control.context
    (files.directory / "key").write_bytes(pki.gateway().key)

    with pytest.raises(TidegateError, match="is not the key of"):
        await keyring.renew(files.tls)

    assert control.context is context
    late = await keyring.take(files.tls, alpn=(ALPN,))
    assert serial(late.context) == serial(context)


async def test_a_first_certificate_that_has_expired_is_better_than_none(files: Files) -> None:
    files.put(pki.gateway(now=datetime.now(UTC) - timedelta(days=9_999)))

    port = await Keyring().take(files.tls, alpn=(ALPN,))

    assert port.tls == files.tls


async def test_other_references_are_used_if_they_will_do(files: Files, tmp_path: Path) -> None:
    keyring = Keyring()
    port = await keyring.take(files.tls, alpn=(ALPN,))
    context = port.context
    other = Files(tmp_path / "other")
    (other.directory / "key").unlink()

    with pytest.raises(ActionError, match=r"^gateway\.tls\.key: ") as caught:
        await keyring.change(port, other.tls)
    assert caught.value.reason == "InvalidCertificate"
    assert port.context is context
    assert list(keyring.in_use) == [files.tls]

    other.put(pki.gateway())
    await keyring.change(port, other.tls)
    assert port.context is not context
    assert list(keyring.in_use) == [other.tls]


async def test_the_same_references_are_no_change_whatever_is_in_the_files(files: Files) -> None:
    """So that another setting of the port does not fail over a renewal that is under way."""
    keyring = Keyring()
    port = await keyring.take(files.tls, alpn=(ALPN,))
    (files.directory / "key").unlink()

    await keyring.change(port, files.tls)


async def test_a_port_that_is_closed_is_forgotten(files: Files) -> None:
    keyring = Keyring()
    port = await keyring.take(files.tls, alpn=(ALPN,))
    keyring.forget(port)
    assert not list(keyring.in_use)


async def test_other_authorities_are_told_of_once_whichever_way_they_came(
    files: Files, tmp_path: Path
) -> None:
    keyring = Keyring()
    told = Told(keyring)
    ours, theirs = pki.authority(), pki.authority("Somebody else")
    port = await keyring.take(files.tls, alpn=(ALPN,))
    assert told.authorities == [ours.certificate]

    files.put(pki.gateway())
    await keyring.renew(files.tls)
    await keyring.take(files.tls, alpn=("http/1.1",))
    assert told.authorities == [ours.certificate]

    files.put_authority(theirs)
    await keyring.renew(files.tls)
    assert told.authorities == [ours.certificate, theirs.certificate]

    other = Files(tmp_path / "other")
    await keyring.change(port, other.tls)
    assert told.authorities == [ours.certificate, theirs.certificate, ours.certificate]


async def test_a_port_that_takes_others_later_than_its_neighbor_tells_of_it_again(
    files: Files, tmp_path: Path
) -> None:
    """Somebody of the old authority may have come through it in between."""
    keyring = Keyring()
    ports = [await keyring.take(files.tls, alpn=(ALPN,)) for _ in range(2)]
    told = Told(keyring)
    other = Files(tmp_path / "other")
    other.put_authority(pki.authority("Somebody else"))

    for port in ports:
        await keyring.change(port, other.tls)

    assert len(told.authorities) == 2


class ToldOfLists:
    """Who is told of revocation lists: how many they revoke."""

    def __init__(self, keyring: Keyring) -> None:
        self.counts: list[int | None] = []
        keyring.on_lists = self._note

    async def _note(self, lists: RevocationLists | None) -> None:
        self.counts.append(None if lists is None else len(lists))


async def test_other_lists_are_told_of_once_for_all_ports(files: Files) -> None:
    keyring = Keyring()
    told = ToldOfLists(keyring)
    files.put_lists(revocation_list(OURS, 7))
    await keyring.take(files.tls, alpn=(ALPN,))
    await keyring.take(files.tls, alpn=("http/1.1",))
    assert told.counts == [1]

    files.put_lists(revocation_list(OURS, 7, 8))
    renewed = await keyring.renew(files.tls)

    assert renewed is not None
    assert renewed["changed"] == ["gateway.tls.crl"]
    assert told.counts == [1, 2]


async def test_where_the_state_names_no_lists_any_more_there_are_none(files: Files) -> None:
    keyring = Keyring()
    told = ToldOfLists(keyring)
    without = files.tls
    files.put_lists(revocation_list(OURS, 7))
    port = await keyring.take(files.tls, alpn=(ALPN,))

    await keyring.change(port, without)

    assert told.counts == [1, None]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"hello", "is no revocation list"),
        (b"", "is empty"),
        (revocation_list(OURS, 7)[:-40], "is cut off"),
        (revocation_list(pki.authority("Somebody else"), 7, issuer="Test authority"), "is not signed by"),
        (b"x" * (MAX_SIZE + 1), "holds more than 8192 KiB"),
    ],
    ids=["garbage", "empty", "cut off", "of another", "huge"],
)
async def test_lists_that_will_not_do_change_nothing_and_open_no_port(
    files: Files, data: bytes, words: str
) -> None:
    keyring = Keyring()
    told = ToldOfLists(keyring)
    files.put_lists(revocation_list(OURS, 7))
    port = await keyring.take(files.tls, alpn=(ALPN,))
    files.put_lists(data)

    with pytest.raises(TidegateError, match=words) as caught:
        await keyring.renew(files.tls)

    assert "gateway.tls.crl" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert told.counts == [1]
    assert port.lists is not None
    with pytest.raises(ActionError, match=words) as failed:
        await Keyring().take(files.tls, alpn=(ALPN,))
    assert failed.value.reason == "InvalidCertificate"


async def test_a_list_that_is_gone_stays_in_force(files: Files) -> None:
    keyring = Keyring()
    told = ToldOfLists(keyring)
    files.put_lists(revocation_list(OURS, 7))
    await keyring.take(files.tls, alpn=(ALPN,))
    (files.directory / "crl").unlink()

    with pytest.raises(TidegateError, match="there is no such file"):
        await keyring.renew(files.tls)

    assert told.counts == [1]


async def test_a_list_that_was_to_be_replaced_is_told_of_once_and_counts(
    files: Files, journal: Journal
) -> None:
    keyring = Keyring()
    files.put_lists(revocation_list(OURS, 7, end=NOW - timedelta(hours=1)))
    port = await keyring.take(files.tls, alpn=(ALPN,))

    for _ in range(3):
        assert await keyring.renew(files.tls) is None

    (line,) = journal.find("revocation_list_doubtful")
    assert "was to be replaced by" in line["reason"]
    assert keyring.warnings(NOW) == (line["reason"],)
    assert port.lists is not None


async def test_other_references_are_looked_at_and_change_nothing(files: Files) -> None:
    keyring = Keyring()
    port = await keyring.take(files.tls, alpn=(ALPN,))
    assert await keyring.look_at(files.tls) is None
    before, told = port.tls, Told(keyring)

    files.put_lists(revocation_list(OURS, 7))
    news = await keyring.look_at(files.tls)

    assert news is not None
    assert news.authorities is None
    assert news.lists is not None
    assert len(news.lists) == 1
    files.put_authority(pki.authority("Somebody else"))
    files.put_lists(revocation_list(pki.authority("Somebody else")))
    others = await keyring.look_at(files.tls)
    assert others is not None
    assert others.authorities == pki.authority("Somebody else").certificate
    assert (port.tls, port.lists, told.authorities) == (before, None, [])


async def test_references_that_would_not_be_taken_are_not_looked_at_in_vain(files: Files) -> None:
    keyring = Keyring()
    await keyring.take(files.tls, alpn=(ALPN,))
    files.put_lists(b"no list")

    with pytest.raises(TidegateError, match=r"gateway\.tls\.crl .* is no revocation list"):
        await keyring.look_at(files.tls)
