"""What becomes of the sessions of certificates that are revoked, and of nobody else's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.gateway.revocation import REVOKED, REVOKED_HERE, fingerprint_of
from agent.keys.certificates import Credentials
from reconcile.desired import AdmissionSpec, ControlSpec
from schemas.messages import PROTOCOL, Hello, RefusalCode
from schemas.names import ClientId, ListenAddress
from schemas.references import InlinePem
from schemas.revocation import parse_serial
from schemas.state import Revocation, TlsGateway
from tests.support import pki
from tests.support.authorities import der, revocation_list, root, serial, signed
from tests.support.gateway_parts import (
    QUIET,
    GatewayParts,
    HandDriven,
    admission,
    gateway_parts,
    gateway_tls,
    hand_driven,
    route,
)
from tests.support.journal import PATIENCE, Journal
from tests.support.peers import free_listen, visit
from tests.support.tls_peers import context_with
from transport.pump.sockets import dial_link
from transport.session import Session, SessionRefusedError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

OURS = pki.authority()
HOMELAB = ClientId("homelab")


def without(*entries: Revocation) -> AdmissionSpec:
    """Everybody but these certificates."""
    return replace(admission(), revoked=entries)


def tls(address: ListenAddress, *authorities: Credentials, crl: bytes | None) -> TlsGateway:
    own = gateway_tls(pki.gateway(address.host))
    bundle = b"".join(authority.certificate for authority in authorities or (OURS,)).decode()
    lists = None if crl is None else InlinePem(crl.decode())
    return own.model_copy(update={"client_ca": InlinePem(bundle), "crl": lists})


async def go_by(parts: GatewayParts, *authorities: Credentials, crl: bytes | None) -> None:
    """Let the gateway have this revocation list."""
    spec = ControlSpec(address=parts.control, tls=tls(parts.control, *authorities, crl=crl), timing=QUIET)
    await parts.put(spec)


async def refused(control: ListenAddress, credentials: Credentials) -> RefusalCode:
    """Why the gateway does not take a client on."""
    with pytest.raises(SessionRefusedError) as caught:
        async with hand_driven(control, credentials=credentials):
            pass
    assert str(caught.value) == REVOKED
    return caught.value.code


async def test_a_certificate_that_the_file_revokes_loses_its_session_and_its_visitors_and_does_not_come_back(
    journal: Journal,
) -> None:
    stolen = pki.client()
    async with gateway_parts() as parts, hand_driven(parts.control, credentials=stolen) as thief:
        public = await parts.listen(route())
        async with visit(public) as visitor, hand_driven(parts.control, "office") as office:
            await thief.join(visitor)

            await parts.put(without(Revocation(serial=serial(stolen))))

            assert await thief.ended() == f"refused: {REVOKED}"
            assert await visitor.wait_reset() == b""
            assert office.session.is_open
        assert (await journal.wait_for("client_disconnected", client="homelab"))["reason"] == REVOKED_HERE
        assert await refused(parts.control, stolen) is RefusalCode.REVOKED
        line = await journal.wait_for("client_refused")
        assert (line["reason"], line["client"]) == (REVOKED_HERE, "homelab")
        assert parse_serial(line["serial"]) == serial(stolen)
        assert line["fingerprint"] == fingerprint_of(der(stolen))


@pytest.mark.parametrize("by", ["file", "list"])
async def test_why_a_client_is_away_is_known_from_the_moment_it_was_turned_out_until_it_is_here(
    by: str, journal: Journal
) -> None:
    stolen, renewed = pki.client(), pki.client()
    async with gateway_parts() as parts:
        async with hand_driven(parts.control, credentials=stolen) as thief:
            if by == "file":
                await parts.put(without(Revocation(serial=serial(stolen))))
            else:
                await go_by(parts, crl=revocation_list(OURS, serial(stolen)))
            await thief.ended()
            await journal.wait_for("client_disconnected")
            assert parts.sessions.refusals[HOMELAB].reason == REVOKED_HERE

        async with hand_driven(parts.control, credentials=renewed):
            assert not parts.sessions.refusals
            await refused(parts.control, stolen)  # which is not the one that is here
            assert not parts.sessions.refusals
        await journal.wait_for("client_disconnected", count=2)
        changes = parts.changes

        await refused(parts.control, stolen)
        await refused(parts.control, stolen)
        assert parts.sessions.refusals[HOMELAB].certificate.fingerprint == fingerprint_of(der(stolen))
        assert parts.changes == changes + 1


async def test_nobody_is_remembered_who_was_refused_because_the_file_does_not_list_him() -> None:
    async with gateway_parts(admitted=admission("office")) as parts:
        with pytest.raises(SessionRefusedError):
            async with hand_driven(parts.control):
                pass

        assert not parts.sessions.refusals


async def test_a_renewed_certificate_of_the_same_client_is_taken_on() -> None:
    stolen, renewed = pki.client(), pki.client()
    async with gateway_parts(admitted=without(Revocation(fingerprint=fingerprint_of(der(stolen))))) as parts:
        assert await refused(parts.control, stolen) is RefusalCode.REVOKED

        async with hand_driven(parts.control, credentials=renewed) as homelab:
            assert homelab.session.is_open


async def test_a_certificate_that_is_revoked_no_longer_is_taken_on_again() -> None:
    own = pki.client()
    async with gateway_parts(admitted=without(Revocation(serial=serial(own)))) as parts:
        await parts.put(without())

        async with hand_driven(parts.control, credentials=own) as homelab:
            assert homelab.session.is_open


async def test_a_list_ends_the_sessions_of_whom_it_revokes_and_lets_them_come_back_no_more() -> None:
    stolen = pki.client()
    async with (
        gateway_parts() as parts,
        hand_driven(parts.control, credentials=stolen) as thief,
        hand_driven(parts.control, "office") as office,
    ):
        await go_by(parts, crl=revocation_list(OURS, serial(stolen)))

        assert await thief.ended() == f"refused: {REVOKED}"
        assert office.session.is_open
        assert await refused(parts.control, stolen) is RefusalCode.REVOKED


async def test_a_list_that_is_there_no_more_revokes_nobody() -> None:
    own = pki.client()
    async with gateway_parts() as parts:
        await go_by(parts, crl=revocation_list(OURS, serial(own)))
        await go_by(parts, crl=None)

        async with hand_driven(parts.control, credentials=own) as homelab:
            assert homelab.session.is_open


async def test_the_file_goes_on_revoking_when_the_list_changes_and_the_list_when_the_file_does() -> None:
    by_file, by_list = pki.client(), pki.client()
    async with gateway_parts(admitted=without(Revocation(serial=serial(by_file)))) as parts:
        await go_by(parts, crl=revocation_list(OURS, serial(by_list)))
        await parts.put(without(Revocation(serial=serial(by_file)), Revocation(serial=1)))

        assert await refused(parts.control, by_file) is RefusalCode.REVOKED
        assert await refused(parts.control, by_list) is RefusalCode.REVOKED


async def test_a_number_that_another_authority_revoked_ends_nobodys_session_of_ours() -> None:
    ours, theirs = root("Ours"), root("Theirs")
    control = free_listen()
    own, same_number = signed("homelab", ours, serial=7), signed("office", theirs, serial=7)
    async with (
        gateway_parts(control=control, tls=tls(control, ours, theirs, crl=None)) as parts,
        hand_driven(control, credentials=own) as homelab,
        hand_driven(control, "office", credentials=same_number) as office,
    ):
        await go_by(parts, ours, theirs, crl=revocation_list(theirs, 7))

        assert await office.ended() == f"refused: {REVOKED}"
        assert homelab.session.is_open


async def test_whoever_comes_through_an_authority_that_was_revoked_loses_its_session() -> None:
    above = root("Above")
    below, other = signed("Below", above, is_authority=True), signed("Other", above, is_authority=True)
    control = free_listen()

    def through(name: str, authority: Credentials) -> Credentials:
        own = signed(name, authority)
        return Credentials(certificate=own.certificate + authority.certificate, key=own.key)

    async with (
        gateway_parts(control=control, tls=tls(control, above, crl=None)) as parts,
        hand_driven(control, credentials=through("homelab", below)) as homelab,
        hand_driven(control, "office", credentials=through("office", other)) as office,
    ):
        await go_by(parts, above, crl=revocation_list(above, serial(below)))

        assert await homelab.ended() == f"refused: {REVOKED}"
        assert office.session.is_open
        assert await refused(control, through("homelab", below)) is RefusalCode.REVOKED


@pytest.mark.parametrize("by", ["file", "list"])
async def test_whoever_has_done_the_handshake_before_it_was_revoked_is_refused_at_its_hello(by: str) -> None:
    stolen = pki.client()
    async with gateway_parts() as parts:
        link = await dial_link(
            parts.control.host, parts.control.port, context_with(stolen), handshake_timeout=PATIENCE
        )
        if by == "file":
            await parts.put(without(Revocation(serial=serial(stolen))))
        else:
            await go_by(parts, crl=revocation_list(OURS, serial(stolen)))

        hello = Hello(protocol=PROTOCOL, id="homelab", software="test/1", services=())
        with pytest.raises(SessionRefusedError) as caught:
            await Session.greet(link, hello, HandDriven())

        assert caught.value.code is RefusalCode.REVOKED
        assert not parts.sessions.connected()


async def test_other_authorities_end_the_sessions_of_whom_they_do_not_vouch_for_as_ever() -> None:
    theirs = root("Theirs")
    control = free_listen()
    stolen, kept = signed("office", theirs), signed("shop", theirs)
    lists = revocation_list(theirs, serial(stolen))
    async with (
        gateway_parts(control=control, tls=tls(control, OURS, theirs, crl=None)) as parts,
        hand_driven(control, "homelab") as homelab,
        hand_driven(control, "office", credentials=stolen) as office,
        hand_driven(control, "shop", credentials=kept) as shop,
    ):
        await go_by(parts, theirs, crl=lists)

        assert "no longer vouch for this client's certificate" in await homelab.ended()
        assert await office.ended() == f"refused: {REVOKED}"
        assert shop.session.is_open


async def test_a_plan_tells_who_would_lose_its_session() -> None:
    stolen = pki.client()
    async with gateway_parts() as parts, hand_driven(parts.control, credentials=stolen):
        assert parts.sessions.losing(without(Revocation(serial=serial(stolen)))) == {"homelab"}
        assert parts.sessions.losing(without()) == frozenset()
