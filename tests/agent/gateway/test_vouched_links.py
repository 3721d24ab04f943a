"""Other authorities end the sessions for which they do not vouch, and no others."""

from __future__ import annotations

import ssl

import anyio
import pytest

from agent.gateway import vouched_links
from agent.keys.certificates import Credentials
from reconcile.desired import ControlSpec
from schemas.names import ListenAddress
from schemas.references import InlinePem
from schemas.state import TlsGateway
from tests.support import pki
from tests.support.gateway_parts import QUIET, GatewayParts, gateway_parts, gateway_tls, hand_driven, route
from tests.support.journal import PATIENCE, Journal
from tests.support.peers import free_listen, until, visit
from tests.support.tls_peers import context_with, knock

from .test_vouching import intermediate

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

OURS = pki.authority()
THEIRS = pki.authority("Somebody else")


def trusting(address: ListenAddress, *authorities: Credentials) -> TlsGateway:
    """The gateway's own certificate is of our authority, whoever signs its clients'."""
    tls = gateway_tls(pki.gateway(address.host))
    bundle = b"".join(authority.certificate for authority in authorities)
    return TlsGateway(cert=tls.cert, key=tls.key, client_ca=InlinePem(bundle.decode()))


async def trust(parts: GatewayParts, *authorities: Credentials) -> None:
    """Change the client CA."""
    await parts.put(
        ControlSpec(address=parts.control, tls=trusting(parts.control, *authorities), timing=QUIET)
    )


async def test_who_is_vouched_for_no_more_loses_the_session_at_once_and_nobody_else_does(
    journal: Journal,
) -> None:
    control = free_listen()
    async with (
        gateway_parts(control=control, tls=trusting(control, OURS, THEIRS)) as parts,
        hand_driven(control, "homelab") as homelab,
        hand_driven(control, "office", credentials=pki.client("office", signed_by=THEIRS)) as office,
    ):
        public = await parts.listen(route("blog", clients=["office"]))
        async with visit(public) as visitor:
            offer = await office.join(visitor)

            await trust(parts, THEIRS)

            heard = await homelab.ended()
            line = await journal.wait_for("client_disconnected", client="homelab")
            assert "no longer vouch for this client's certificate" in line["reason"]
            assert heard == f"refused: {line['reason']}"
            assert office.session.is_open
            offer.stream.send(b"still here")
            assert await visitor.receive_exactly(10) == b"still here"
        assert set(parts.sessions.connected()) == {"office"}
        assert not journal.find("client_disconnected", client="office")


async def test_a_new_certificate_of_the_gateway_ends_nobodys_session() -> None:
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        await trust(parts, OURS)
        await trust(parts, OURS, THEIRS)

        async with hand_driven(parts.control, "office"):
            assert homelab.session.is_open
        assert homelab.session.is_open


async def test_who_comes_through_an_authority_below_one_that_is_trusted_stays() -> None:
    """The certificate of that authority is known from the handshake; it is not in the file."""
    control = free_listen()
    root = intermediate("root", OURS)  # unlike ours, it lets others sign for it
    below = intermediate("below", root)
    own = intermediate("homelab", below, is_authority=False)
    chain = Credentials(certificate=own.certificate + below.certificate, key=own.key)
    async with (
        gateway_parts(control=control, tls=trusting(control, root)) as parts,
        hand_driven(control, credentials=chain) as homelab,
    ):
        await trust(parts, root, THEIRS)

        async with hand_driven(control, "office", credentials=pki.client("office", signed_by=THEIRS)):
            assert homelab.session.is_open
        assert homelab.session.is_open


async def test_when_nobody_can_tell_who_is_vouched_for_everybody_dials_again(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise ImportError("the files of the program are no longer its own")

    monkeypatch.setattr(vouched_links, "_unvouched", broken)
    async with gateway_parts() as parts, hand_driven(parts.control) as homelab:
        await trust(parts, OURS, THEIRS)

        assert "asks every client to dial again" in await homelab.ended()
        assert journal.find("vouching_failed", level="error")
        async with hand_driven(parts.control) as again:
            assert again.session.is_open


async def test_who_has_not_said_hello_yet_must_prove_itself_again(journal: Journal) -> None:
    async with gateway_parts() as parts, anyio.create_task_group() as tasks:
        tasks.start_soon(knock, parts.control, context_with(pki.client()))
        links = parts.control_ports.links._links
        with anyio.fail_after(PATIENCE):
            await until(lambda: len(links) == 1)

        await trust(parts, THEIRS)

        assert await journal.wait_for("client_refused")
        assert not parts.sessions.connected()


async def test_a_handshake_that_began_before_leads_to_no_session(journal: Journal) -> None:
    """The gateway has looked at the certificate with the eyes of the day before."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context_with(pki.client()).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    control = free_listen()
    gateways = gateway_tls(pki.gateway("127.0.0.1"))
    async with gateway_parts(control=control, tls=gateways) as parts, visit(control) as slow:
        is_changed = False
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await slow.send(outgoing.read())
                incoming.write(await slow.receive())
                if not is_changed:  # the gateway's part of the handshake is there
                    await trust(parts, THEIRS)
                    is_changed = True

        await slow.send(outgoing.read())

        line = await journal.wait_for("handshake_failed")
        assert "the client CA was replaced during the handshake" in line["reason"]
        assert not parts.sessions.connected()


async def test_it_is_known_beforehand_whom_other_authorities_would_not_vouch_for() -> None:
    control = free_listen()
    async with (
        gateway_parts(control=control, tls=trusting(control, OURS, THEIRS)) as parts,
        hand_driven(control, "homelab"),
        hand_driven(control, "office", credentials=pki.client("office", signed_by=THEIRS)) as office,
    ):
        links = parts.control_ports.links

        assert await links.losing(OURS.certificate, None) == {"office"}
        assert await links.losing(None, None) == frozenset()
        assert office.session.is_open
