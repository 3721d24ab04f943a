"""Each certificate that will not do is refused with one sentence that says what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.keys.certificates import Credentials, sign_client, sign_gateway
from tests.support import pki
from tests.support.bystanders import MEGABYTES, Bystanders, bystanders
from tests.support.downloads import download_server
from tests.support.real_software import Programs
from tests.support.site import Agent, Site, site
from tests.support.tools import Answer, Curl, CurlError

LONG_AGO = datetime.now(UTC) - timedelta(days=2_000)
TURNED_AWAY = "it may not accept this client's certificate"


class Guarded:
    """A gateway that knows homelab and office; homelab is connected, and a download of it is under way."""

    def __init__(self, place: Site, downloads: str) -> None:
        self.place = place
        self.tunnel, self.management = place.listen(), place.listen()
        tunnel = {"name": "t", "listen": self.tunnel, "client": "homelab", "service": "download"}
        self.gateway, self.client = place.start_both(
            [tunnel],
            {"download": downloads},
            clients=[{"id": "homelab"}, {"id": "office"}],
            management=self.management,
        )


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, loop: Sequence[str]) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp("certificates")
    with (
        download_server("127.0.0.1", megabytes=MEGABYTES) as downloads,
        site(directory, options=loop) as place,
    ):
        yield Guarded(place, downloads)


@pytest.fixture(autouse=True)
def others(request: pytest.FixtureRequest) -> Iterator[Bystanders | None]:
    """Where there is a gateway that serves somebody, it goes on."""
    if "guarded" not in request.fixturenames:
        yield None
        return
    with bystanders(request.getfixturevalue("guarded").tunnel) as around:
        yield around


def authority_of(place: Site) -> Credentials:
    return Credentials(
        certificate=(place.pki / "ca.crt").read_bytes(), key=(place.pki / "ca.key").read_bytes()
    )


def keep(place: Site, name: str, credentials: Credentials) -> tuple[Path, Path]:
    """The files of a certificate and its key."""
    certificate, key = place.pki / f"{name}.crt", place.pki / f"{name}.key"
    certificate.write_bytes(credentials.certificate)
    key.write_bytes(credentials.key)
    return certificate, key


def start_client(place: Site, name: str, credentials: Credentials, *, id: str = "office") -> Agent:
    """A client with a certificate of its own. It cannot connect, and says why."""
    certificate, key = keep(place, name, credentials)
    tls = {"cert": str(certificate), "key": str(key), "ca": "pki/ca.crt"}
    state = place.client_file({"download": "127.0.0.1:1"}, id=id, name=name, tls=tls)
    return place.start("client", state)


def why_down(client: Agent) -> str:
    """What the client's log says, which is what its status says too."""
    reason: str = client.wait_for("link_down")["reason"]
    while not (message := client.status()["links"][0]["message"]):
        pass  # it is trying again at this very moment
    client.kill()
    assert message == reason
    return reason


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda authority: sign_client(pki.authority("Other CA"), client_id="office"),
            "not signed by the authority this side trusts",
        ),
        (
            lambda authority: sign_client(
                authority, client_id="office", now=LONG_AGO, lifetime=timedelta(days=1)
            ),
            "has expired: issue a new one",
        ),
        (
            lambda authority: sign_gateway(authority, name="office", hosts=["office.example.com"]),
            "was made for another purpose: a client needs one from tidegate pki client",
        ),
    ],
    ids=["another-authority", "expired", "a-gateways"],
)
def test_a_certificate_that_does_not_verify_is_named_by_the_gateway(
    guarded: Guarded, make: Callable[[Credentials], Credentials], words: str
) -> None:
    """The client cannot know which it is, and is told where to look."""
    mark = guarded.gateway.mark
    client = start_client(guarded.place, "unverified", make(authority_of(guarded.place)))
    assert TURNED_AWAY in why_down(client)
    assert words in guarded.gateway.wait_for("handshake_failed", after=mark)["reason"]


@pytest.mark.parametrize(
    ("certified", "called", "words"),
    [
        (
            "stranger",
            "stranger",
            "the gateway does not list the client 'stranger': add it under clients in its file",
        ),
        (
            "office",
            "homelab",
            "the client calls itself 'homelab', but its certificate is for 'office': "
            "set client.id to office or use the certificate of homelab",
        ),
        (
            "office@example.org",
            "office",
            'the certificate names "office@example.org" and the gateway sets no domain: '
            "write the domain into the gateway's state file, or issue a certificate without one",
        ),
    ],
    ids=["not-declared", "another-id", "domain-not-wanted"],
)
def test_a_name_that_is_not_the_clients_is_refused_with_what_to_do(
    guarded: Guarded, certified: str, called: str, words: str
) -> None:
    """Both sides have the same sentence in their logs, and the true homelab keeps its session."""
    mark = guarded.gateway.mark
    client_id, _, domain = certified.partition("@")
    credentials = sign_client(authority_of(guarded.place), client_id=client_id, domain=domain or None)
    client = start_client(guarded.place, "misnamed", credentials, id=called)
    assert why_down(client) == f"refused: {words}"
    assert guarded.gateway.wait_for("client_refused", after=mark)["reason"] == words


def ask(guarded: Guarded, curl: str, credentials: Credentials) -> Answer:
    """Ask the management port for its clients."""
    certificate, key = keep(guarded.place, "caller", credentials)
    options = ("--cacert", str(guarded.place.pki / "ca.crt"), "--cert", str(certificate), "--key", str(key))
    return Curl(curl, *options)(f"https://{guarded.management}/clients")


@pytest.mark.real_software("curl")
def test_the_management_port_takes_no_certificate_of_another_authority(
    guarded: Guarded, programs: Programs
) -> None:
    mark = guarded.gateway.mark
    with pytest.raises(CurlError):
        ask(guarded, programs["curl"], sign_client(pki.authority("Other CA"), client_id="office"))
    line = guarded.gateway.wait_for("api_handshake_failed", after=mark)
    assert "not signed by the authority this side trusts" in line["reason"]


@pytest.mark.real_software("curl")
def test_the_management_port_tells_nobody_anything_who_is_not_listed(
    guarded: Guarded, programs: Programs
) -> None:
    """403 with what to do; who is listed gets the answer."""
    authority = authority_of(guarded.place)
    refused = ask(guarded, programs["curl"], sign_client(authority, client_id="stranger"))
    assert refused.status == 403
    assert 'does not list "stranger": add it to clients' in refused.json()["detail"]
    assert "homelab" in ask(guarded, programs["curl"], sign_client(authority, client_id="office")).json()


def test_a_gateway_with_a_domain_wants_it_in_every_certificate(tmp_path: Path) -> None:
    words = (
        'the certificate names "office" and the gateway wants <id>@example.com: '
        "issue one with tidegate pki client --domain example.com"
    )
    with site(tmp_path) as place:
        gateway = place.start("gateway", place.gateway_file([], domain="example.com"))
        client = start_client(place, "office", sign_client(authority_of(place), client_id="office"))
        assert why_down(client) == f"refused: {words}"
        assert gateway.wait_for("client_refused")["reason"] == words
        named = sign_client(authority_of(place), client_id="office", domain="EXAMPLE.com")
        start_client(place, "named", named).wait_for("link_up")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda authority, host: sign_gateway(authority, name="gateway", hosts=["gateway.example.com"]),
            "dial it by a name in the certificate, or issue one for this name with tidegate pki gateway",
        ),
        (
            lambda authority, host: sign_gateway(pki.authority("Other CA"), name="gateway", hosts=[host]),
            "check that the CA in the state file is the one that signed it",
        ),
        (
            lambda authority, host: sign_gateway(
                authority, name="gateway", hosts=[host], now=LONG_AGO, lifetime=timedelta(days=1)
            ),
            "the other side's certificate has expired: issue a new one",
        ),
        (
            lambda authority, host: sign_client(authority, client_id="gateway"),
            "was made for another purpose",
        ),
    ],
    ids=["another-host", "another-authority", "expired", "a-clients"],
)
def test_a_gateway_that_cannot_prove_who_it_is_is_left_with_one_sentence(
    tmp_path: Path, make: Callable[[Credentials, str], Credentials], words: str
) -> None:
    """The client says what to do, the gateway refers to it, and all is well when that is done."""
    with site(tmp_path) as place:
        good = {name: (place.pki / name).read_bytes() for name in ("gateway.crt", "gateway.key")}
        keep(place, "gateway", make(authority_of(place), place.address))
        gateway = place.start("gateway", place.gateway_file([]))
        client = place.start("client", place.client_file({"download": "127.0.0.1:1"}))
        assert words in client.wait_for("link_down")["reason"]
        assert "its log may say why" in gateway.wait_for("handshake_failed")["reason"]
        gateway.stop()
        for name, content in good.items():
            (place.pki / name).write_bytes(content)
        place.start("gateway", place.directory / "gateway.yaml")
        client.wait_for("link_up")
