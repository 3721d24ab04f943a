"""Whatever TLS it was, the certificates of a peer are told in the same way."""

from __future__ import annotations

import ssl

from agent.keys.certificates import Credentials
from agent.keys.shown import shown_chain, verified_chain
from tests.support import pki
from tests.support.authorities import der, root, signed
from tests.support.tls_peers import context_with
from transport.tls import server_context

OURS = root("Ours")


def seen_of(client: Credentials) -> ssl.SSLObject:
    """What a gateway has of a client after their handshake."""
    own = pki.gateway("localhost")
    upward, downward = ssl.MemoryBIO(), ssl.MemoryBIO()
    gateway = server_context(cert=own.certificate, key=own.key, ca=OURS.certificate).wrap_bio(
        upward, downward, server_side=True
    )
    peer = context_with(client).wrap_bio(downward, upward, server_hostname="localhost")
    for _ in range(4):
        for side in (peer, gateway):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return gateway


def test_a_client_shows_itself_and_is_verified_up_to_the_authority() -> None:
    client = signed("homelab", OURS)
    seen = seen_of(client)

    assert shown_chain(seen)[0] == verified_chain(seen)[0] == der(client)
    assert verified_chain(seen) == (der(client), der(OURS))


def test_authorities_in_between_are_told() -> None:
    below = signed("Below", OURS, is_authority=True)
    client = signed("homelab", below)

    seen = seen_of(Credentials(certificate=client.certificate + below.certificate, key=client.key))

    assert shown_chain(seen) == (der(client), der(below))
    assert verified_chain(seen) == (der(client), der(below), der(OURS))


def test_a_peer_of_whom_nobody_tells_more_has_shown_itself() -> None:
    class Silent:
        def getpeercert(self, binary_form: bool) -> bytes:
            return b"a certificate"

    assert shown_chain(Silent()) == verified_chain(Silent()) == (b"a certificate",)


def test_without_tls_there_is_none() -> None:
    assert shown_chain(None) == ()
