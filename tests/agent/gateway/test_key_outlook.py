"""Whom other keys would cut off, told before they are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.gateway.key_outlook import KeyOutlook, look_ahead
from agent.gateway.keyring import Keyring
from agent.keys.certificates import Credentials
from reconcile.desired import ControlSpec, Key, Spec, key_of
from schemas.names import ClientId
from schemas.references import FileRef, InlinePem, Reference
from tests.support import pki
from tests.support.authorities import revocation_list, serial
from tests.support.gateway_parts import QUIET, GatewayParts, gateway_parts, gateway_tls, hand_driven

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left_open")]

OURS = pki.authority()


def naming(parts: GatewayParts, crl: Reference | None) -> dict[Key, Spec]:
    """A control port whose keys name that list."""
    tls = gateway_tls(pki.gateway(parts.control.host)).model_copy(update={"crl": crl})
    spec = ControlSpec(address=parts.control, tls=tls, timing=QUIET)
    return {key_of(spec): spec}


def listing(*stolen: Credentials) -> InlinePem:
    return InlinePem(revocation_list(OURS, *map(serial, stolen)).decode())


async def test_whoever_a_list_revokes_that_is_not_named_yet_is_told_and_stays() -> None:
    stolen = pki.client()
    async with (
        gateway_parts() as parts,
        hand_driven(parts.control, credentials=stolen) as thief,
        hand_driven(parts.control, "office"),
    ):
        found = await look_ahead(naming(parts, listing(stolen)), parts.keyring, parts.control_ports.links)

        assert found == KeyOutlook(losing=frozenset({ClientId("homelab")}))
        assert thief.session.is_open


async def test_nobody_loses_anything_by_keys_that_are_there_or_would_not_be_taken(tmp_path: Path) -> None:
    stolen, missing = pki.client(), tmp_path / "crl.pem"
    async with gateway_parts() as parts, hand_driven(parts.control, credentials=stolen):
        links = parts.control_ports.links
        assert await look_ahead({}, parts.keyring, links) == KeyOutlook()
        assert await look_ahead(naming(parts, None), parts.keyring, links) == KeyOutlook()

        found = await look_ahead(naming(parts, FileRef(str(missing))), parts.keyring, links)

        assert not found.losing
        assert found.problem.startswith(f"gateway.tls.crl: {missing} cannot be read; there is no such file")


async def test_a_gateway_without_a_port_has_nobody_to_lose() -> None:
    async with gateway_parts() as parts:
        found = await look_ahead(naming(parts, listing(pki.client())), Keyring(), parts.control_ports.links)

        assert found == KeyOutlook()
