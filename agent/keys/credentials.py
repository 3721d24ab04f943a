"""From references in a state file to TLS contexts.

Rule: keys are read here, and what they are worth is found out here, before anybody
sees them. Blocks on the disk: call it in a worker thread.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from schemas.references import Reference
from schemas.state import TlsClient, TlsGateway
from transport.tls import (
    ALPN,
    PemNames,
    TlsError,
    client_context,
    outer_client_context,
    outer_server_context,
    server_context,
)

from .references import LISTS, MAX_SIZE, PEM, UnreadableReferenceError, describe, resolve

if TYPE_CHECKING:
    from .crl import RevocationLists

Tls: TypeAlias = TlsGateway | TlsClient

# X509_V_ERR_* of openssl/x509_vfy.h. These numbers are part of OpenSSL's interface.
_UNUSABLE: Final = {
    9: "is not valid yet: set this machine's clock, or wait",
    10: "has expired: issue a new one, or set this machine's clock",
    26: "was made for another purpose: a client needs one from tidegate pki client, "
    "a gateway one from tidegate pki gateway",
}
_ROUNDS: Final = 4  # of a handshake; TLS 1.3 needs two


@dataclass(frozen=True, slots=True, kw_only=True)
class Pem:
    """What the references of a role stood for at one moment."""

    cert: bytes
    key: bytes = field(repr=False)
    ca: bytes
    crl: bytes | None = field(default=None, repr=False)  # None: the state names none


def gateway_context(
    tls: TlsGateway, pem: Pem | None = None, *, alpn: Sequence[str] = (ALPN,)
) -> ssl.SSLContext:
    """The context of a port of the gateway that asks for client certificates.

    :param pem: what the references stand for; None reads it.
    :raises TidegateError: if something cannot be read, or is not what it should be.
    """
    pem = pem or read_pem(tls)
    return server_context(cert=pem.cert, key=pem.key, ca=pem.ca, alpn=alpn, names=_names(tls))


def link_context(tls: TlsClient, pem: Pem | None = None) -> ssl.SSLContext:
    """The context with which a client dials a gateway.

    :param pem: what the references stand for; None reads it.
    :raises TidegateError: if something cannot be read, or is not what it should be.
    """
    pem = pem or read_pem(tls)
    return client_context(cert=pem.cert, key=pem.key, ca=pem.ca, names=_names(tls))


def outer_gateway_context(tls: TlsGateway, pem: Pem) -> ssl.SSLContext:
    """The context in which a gateway is a web server, for WebSockets that no reverse proxy brings.

    :raises TidegateError: if something is not what it should be.
    """
    return outer_server_context(cert=pem.cert, key=pem.key, names=_names(tls))


def outer_link_context(tls: TlsClient, pem: Pem | None = None) -> ssl.SSLContext:
    """The context with which a client dials what its gateway stands behind.

    :param pem: what the references stand for; None reads it.
    :raises TidegateError: if something cannot be read, or is not what it should be.
    """
    pem = pem or read_pem(tls)
    return outer_client_context(ca=pem.ca, names=_names(tls))


def references(tls: Tls) -> Mapping[str, Reference]:
    """The certificate, its key and the authority, by the fields of the state file that name them.

    Behind them, if the state names any, are the lists of what the authority has revoked.
    """
    match tls:
        case TlsGateway(cert=cert, key=key, client_ca=ca, crl=crl):
            found = {"gateway.tls.cert": cert, "gateway.tls.key": key, "gateway.tls.client_ca": ca}
            return found if crl is None else {**found, "gateway.tls.crl": crl}
        case TlsClient(cert=cert, key=key, ca=ca):
            return {"client.tls.cert": cert, "client.tls.key": key, "client.tls.ca": ca}


def read_pem(tls: Tls) -> Pem:
    """What the references stand for now.

    :raises TidegateError: if one of them cannot be read.
    """
    texts = []
    for name, reference in references(tls).items():
        try:
            texts.append(resolve(reference, limit=size_limit(name), kind=kind_of(name)))
        except UnreadableReferenceError as error:
            raise UnreadableReferenceError(f"{name}: {error}") from error
    cert, key, ca, *lists = texts
    return Pem(cert=cert, key=key, ca=ca, crl=lists[0] if lists else None)


def revocation_lists(tls: TlsGateway, pem: Pem) -> RevocationLists | None:
    """What the authorities of a gateway's clients have revoked; None if the state names no lists.

    :raises TidegateError: if they cannot be used.
    """
    if pem.crl is None or tls.crl is None:
        return None
    from .crl import read_lists  # it loads cryptography, which most gateways never need

    return read_lists(pem.crl, authorities=pem.ca, name=f"gateway.tls.crl ({describe(tls.crl)})")


def prove(tls: Tls, pem: Pem) -> Mapping[str, Any]:
    """See whether a pair and its authority may take the place of others; what a peer sees of the certificate.

    More is asked of them than of the first ones, which are better than nothing: nothing is cut off, and peers
    would accept the certificate today.

    :returns: what :meth:`ssl.SSLSocket.getpeercert` says.
    :raises TidegateError: if not.
    """
    names = _names(tls)
    for name, text in ((names.cert, pem.cert), (names.key, pem.key), (names.ca, pem.ca)):
        if text.count(b"-----BEGIN ") != text.count(b"-----END "):
            raise TlsError(f"{name} is cut off: copy it anew")
    # A server needs a certificate in any case, and does not look at what its own is for.
    server = server_context(cert=pem.cert, key=pem.key, ca=pem.ca, names=names)
    client = client_context(cert=pem.cert, key=pem.key, ca=pem.ca, names=names)
    _check_authorities(server.get_ca_certs(), names.ca)
    if isinstance(tls, TlsGateway):
        revocation_lists(tls, pem)
    client.check_hostname = False
    own, peer = (server, client) if isinstance(tls, TlsGateway) else (client, server)
    own.verify_mode = ssl.CERT_NONE
    peer.load_verify_locations(cadata=pem.cert.decode("ascii", "ignore"))  # trusts this one certificate
    try:
        return _seen_by(peer, server, client)
    except ssl.SSLCertVerificationError as error:
        trouble = _UNUSABLE.get(error.verify_code, f"would be refused ({error.verify_message})")
        raise TlsError(f"{names.cert} {trouble}") from error
    except ssl.SSLError as error:
        raise TlsError(f"{names.cert} does not work ({error.reason or error}): issue a new one") from error


def renewal(tls: Tls, before: Pem, now: Pem, seen: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a log says of one text in the place of another.

    :param seen: what :func:`prove` gave for it.
    """
    pairs = ((before.cert, now.cert), (before.key, now.key), (before.ca, now.ca), (before.crl, now.crl))
    # Where no lists are named, both are None.
    return {
        "changed": [name for name, (old, new) in zip(references(tls), pairs, strict=False) if old != new],
        "cert": describe(tls.cert),
        "serial": seen.get("serialNumber", ""),
        "expires": seen.get("notAfter", ""),
    }


def kind_of(field: str) -> str:
    """What messages call that which should be where a field of the state file refers to."""
    return LISTS if field.rpartition(".")[2] == "crl" else PEM


def size_limit(field: str) -> int:
    """The bytes that may be read of what a field of the state file refers to."""
    if field.rpartition(".")[2] != "crl":
        return MAX_SIZE
    from .crl import MAX_SIZE as LARGEST_LISTS  # as above

    return LARGEST_LISTS


def _check_authorities(authorities: Iterable[Mapping[str, Any]], name: str) -> None:
    """One that is valid now is enough: others may be on their way out, or in.

    :raises TlsError: if there is none.
    """
    now = time.time()
    if not any(
        ssl.cert_time_to_seconds(found["notBefore"]) <= now <= ssl.cert_time_to_seconds(found["notAfter"])
        for found in authorities
    ):
        raise TlsError(f"{name} holds no authority that is valid now: put the one there that signs the peers")


def _seen_by(peer: ssl.SSLContext, server: ssl.SSLContext, client: ssl.SSLContext) -> Mapping[str, Any]:
    """Let the two shake hands in memory; what one of them sees of the other's certificate.

    :raises ssl.SSLError: if it does not accept it.
    """
    upward, downward = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = {
        client: client.wrap_bio(downward, upward),
        server: server.wrap_bio(upward, downward, server_side=True),
    }
    for _ in range(_ROUNDS):
        for side in sides.values():
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return sides[peer].getpeercert() or {}


def _names(tls: Tls) -> PemNames:
    named = (f"{name} ({describe(reference)})" for name, reference in references(tls).items())
    cert, key, ca, *_ = named
    return PemNames(cert=cert, key=key, ca=ca)
