"""Who calls, and what they may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import pytest

from agent.api.identity import UNIX_SOCKET, ByCertificate, GetChain, PeerCertificate, on_unix_socket
from agent.api.problems import ApiError
from reconcile.desired import AdmissionSpec
from schemas.names import ClientId, check_client_id

ANYBODY = AdmissionSpec(clients=None, domain=None, admins=frozenset({ClientId("ops")}))
LISTED = replace(ANYBODY, clients=frozenset({ClientId("homelab")}))


def certificate(common_name: str) -> PeerCertificate:
    """What ssl says of a verified certificate."""
    return {"subject": ((("commonName", common_name),),)}


def refusal(admission: AdmissionSpec, peer: PeerCertificate) -> str:
    with pytest.raises(ApiError) as caught:
        ByCertificate(lambda: admission)(peer)
    assert caught.value.status == HTTPStatus.FORBIDDEN
    return str(caught.value)


def test_whoever_opens_the_unix_socket_may_do_everything() -> None:
    caller = on_unix_socket(None)

    assert (caller.name, caller.client, caller.is_admin) == (UNIX_SOCKET, None, True)


def test_no_client_can_call_itself_the_unix_socket() -> None:
    with pytest.raises(ValueError, match="may hold only"):
        check_client_id(UNIX_SOCKET)


@pytest.mark.parametrize(("name", "is_admin"), [("homelab", False), ("ops", True)])
@pytest.mark.parametrize("admission", [ANYBODY, LISTED])
def test_a_certificate_stands_for_a_client_and_some_clients_are_admins(
    admission: AdmissionSpec, name: str, is_admin: bool
) -> None:
    caller = ByCertificate(lambda: admission)(certificate(name))

    assert (caller.name, caller.client, caller.is_admin) == (name, name, is_admin)


def test_who_is_not_listed_is_told_where_to_be() -> None:
    assert refusal(LISTED, certificate("office")).startswith('the gateway does not list "office": add it')


def test_a_domain_is_part_of_the_name_where_the_gateway_has_one() -> None:
    admission = replace(ANYBODY, domain="example.com")

    assert ByCertificate(lambda: admission)(certificate("ops@example.com")).is_admin
    assert "wants <id>@example.com" in refusal(admission, certificate("ops"))
    assert "wants <id>@example.com" in refusal(admission, certificate("ops@example.org"))
    assert "sets no domain" in refusal(ANYBODY, certificate("ops@example.com"))


@pytest.mark.parametrize("peer", [None, {}])
def test_a_connection_without_a_certificate_is_nobodys(peer: PeerCertificate) -> None:
    assert "no common name" in refusal(ANYBODY, peer)


def test_an_admission_that_changes_holds_for_the_next_request() -> None:
    admissions = [ANYBODY, LISTED]
    identify = ByCertificate(lambda: admissions.pop(0))

    assert not identify(certificate("office")).is_admin
    with pytest.raises(ApiError):
        identify(certificate("office"))


def test_who_is_revoked_may_not_call_whoever_it_is_and_from_the_next_request_on() -> None:
    revoked = [False, True]
    asked: list[tuple[bytes, ...]] = []

    def is_revoked(certificate: Mapping[str, Any], chain: GetChain) -> bool:
        asked.append(tuple(chain()))
        return revoked.pop(0)

    identify = ByCertificate(lambda: ANYBODY, is_revoked)

    assert identify(certificate("ops"), lambda: [b"a certificate"]).is_admin
    with pytest.raises(ApiError, match="this certificate has been revoked") as caught:
        identify(certificate("ops"), lambda: [b"a certificate"])
    assert caught.value.status == HTTPStatus.FORBIDDEN
    assert asked == [(b"a certificate",)] * 2
