"""TLS contexts, and who the other side is according to its certificate.

Rule: this file alone decides what a link's TLS must be. Both sides show a
certificate and both are verified; TLS 1.3, or 1.2 where a peer has no better. It
opens no file of the operator's: PEM comes in as bytes.

What is said about a handshake that failed is in :mod:`transport.tls_errors`.
"""

from __future__ import annotations

import os
import re
import ssl
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NewType, NoReturn

from schemas.errors import TidegateError
from schemas.names import ClientId, check_client_id
from schemas.quoting import quote

from .tls_errors import explain_tls_error as explain_tls_error  # a part of the same vocabulary

ALPN: Final = "tidegate/1"
HTTP_ALPN: Final = ("http/1.1",)  # of what a WebSocket is in: HTTP/2 has no upgrade

_OPEN_FILES: Final = "/proc/self/fd"  # missing where /proc is not mounted

PeerName = NewType("PeerName", str)  # the common name of a verified certificate

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_PRIVATE_KEY: Final = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")
_ENCRYPTED: Final = re.compile(
    rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: *4, *ENCRYPTED", re.MULTILINE
)


class TlsError(TidegateError):
    """A certificate or a key that cannot be used; the message names it and says what to do."""


class IdentityError(TidegateError):
    """The other side's certificate is good and names nobody who could be meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PemNames:
    """What messages call the three texts: best the place each came from, for example ``pki/gateway.crt``."""

    cert: str = "the certificate"
    key: str = "the private key"
    ca: str = "the CA certificate"


def server_context(
    *, cert: bytes, key: bytes, ca: bytes, alpn: Sequence[str] = (ALPN,), names: PemNames | None = None
) -> ssl.SSLContext:
    """The context of a port that only certificates signed by ``ca`` may use. All three are PEM.

    Sessions are not resumed: every connection proves its key against the authority that is in force now, and
    a link lives so long that the saved round trip would not be noticed. So no tickets are sent either, and
    nothing is left unread, and answered with a reset, when a peer closes as soon as it has what it came for.
    Of TLS 1.2 that is not enough, see :func:`is_fresh`.

    :raises TlsError: if one of the texts is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_TICKET  # TLS 1.2
    context.num_tickets = 0  # TLS 1.3
    _prepare(context, cert, key, ca, alpn, names or PemNames())
    return context


def client_context(
    *, cert: bytes, key: bytes, ca: bytes, alpn: Sequence[str] = (ALPN,), names: PemNames | None = None
) -> ssl.SSLContext:
    """The context for dialing a gateway whose certificate ``ca`` signed for the name or address dialed.

    The name is looked for among the subject alternative names only (RFC 9525, section 6.3).

    :raises TlsError: if one of the texts is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies the host name
    context.hostname_checks_common_name = False
    _prepare(context, cert, key, ca, alpn, names or PemNames())
    return context


def outer_server_context(*, cert: bytes, key: bytes, names: PemNames | None = None) -> ssl.SSLContext:
    """The context in which a gateway speaks HTTP to whoever comes. A link's own TLS is inside it.

    It asks for no certificate: browsers and reverse proxies have none of ours.

    :raises TlsError: if one of the texts is not what it should be.
    """
    names = names or PemNames()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_TICKET  # as in server_context
    context.num_tickets = 0
    _harden(context, HTTP_ALPN)
    _show(context, cert, key, names)
    return context


def outer_client_context(*, ca: bytes, names: PemNames | None = None) -> ssl.SSLContext:
    """The context for dialing what a gateway stands behind, or a gateway that speaks HTTP itself.

    Its certificate is one that this system trusts, as a browser would, or one of ``ca``. It is told nothing
    and shown nothing: both programs prove who they are in the TLS inside.

    :raises TlsError: if the text is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.hostname_checks_common_name = False
    _harden(context, HTTP_ALPN)
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    _trust(context, ca, (names or PemNames()).ca)
    return context


def check_alpn(selected: str | None) -> None:
    """Whether the two sides agreed to speak Tidegate's protocol.

    OpenSSL goes on without ALPN when a peer offers nothing we know, so this is asked after the handshake.

    :raises TlsError: if they did not.
    """
    if selected != ALPN:
        raise TlsError(
            f"the other side speaks {selected or 'no protocol known here'} and not {ALPN}: "
            "it is no Tidegate gateway or client, or this is not its control port"
        )


def is_fresh(tls: Any) -> bool:
    """Whether a peer has proved its key, and shown what vouches for its certificate, in this very handshake.

    Of TLS 1.2 OpenSSL remembers sessions by their ids, and Python cannot tell it not to. A session that is
    resumed knows the certificate of before, however old it has become, and nothing of those above it: what
    an authority in between has revoked could not be found.

    :param tls: an :class:`ssl.SSLObject`, or what is like one.
    """
    return not tls.session_reused


def peer_identity(certificate: Mapping[str, object]) -> PeerName:
    """The common name in what :meth:`ssl.SSLSocket.getpeercert` says of a verified certificate.

    :raises IdentityError: if there is not exactly one. Of several, each program would pick another.
    """
    subject = certificate.get("subject", ())
    assert isinstance(subject, tuple)
    found = [value for attributes in subject for kind, value in attributes if kind == "commonName"]
    match found:
        case [str() as common_name] if common_name:
            return PeerName(common_name)
        case [] | [_]:
            raise IdentityError("the certificate has no common name: issue one with tidegate pki client")
        case _:
            raise IdentityError(
                "the certificate has several common names: issue one with tidegate pki client"
            )


def client_id_from(common_name: str, domain: str | None) -> ClientId:
    """The client a common name stands for: ``<id>``, or ``<id>@<domain>`` if the gateway sets a domain.

    Exactly one of the two is accepted, so that no two names stand for one client. Domains compare without
    regard to case, ids do not.

    :raises IdentityError: if it stands for none. The message tells the operators of both sides what to do.
    """
    client_id, at, found = common_name.partition("@")
    if domain is None and at:
        raise IdentityError(
            f"the certificate names {quote(common_name)} and the gateway sets no domain: "
            "write the domain into the gateway's state file, or issue a certificate without one"
        )
    if domain is not None and found.lower() != domain.lower():
        raise IdentityError(
            f"the certificate names {quote(common_name)} and the gateway wants <id>@{domain}: "
            f"issue one with tidegate pki client --domain {domain}"
        )
    try:
        return check_client_id(client_id)
    except ValueError as error:
        raise IdentityError(f"the certificate names no client: {error}") from error


def _prepare(
    context: ssl.SSLContext, cert: bytes, key: bytes, ca: bytes, alpn: Sequence[str], names: PemNames
) -> None:
    _harden(context, alpn)
    context.verify_mode = ssl.CERT_REQUIRED
    _trust(context, ca, names.ca)
    if context.cert_store_stats()["x509_ca"] == 0:
        raise TlsError(
            f"{names.ca} is not the certificate of an authority: name the ca.crt that signed the peers"
        )
    _show(context, cert, key, names)


def _harden(context: ssl.SSLContext, alpn: Sequence[str]) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION  # CRIME
    context.options |= ssl.OP_NO_RENEGOTIATION  # costs the server ten times what it costs the peer
    # Whoever is in the file is trusted, also an intermediate authority whose root is not there.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(list(alpn))


def _show(context: ssl.SSLContext, cert: bytes, key: bytes, names: PemNames) -> None:
    _trust(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), cert, names.cert)  # only to learn whether it can be read
    _check_key(key, names.key)
    with _as_file(cert) as cert_file, _as_file(key) as key_file:
        try:
            context.load_cert_chain(cert_file, key_file, password=_no_passphrase)
        except ssl.SSLError as error:
            raise TlsError(_why_not_loaded(error, names)) from error


def _trust(context: ssl.SSLContext, pem: bytes, name: str) -> None:
    certificates = _CERTIFICATE.findall(pem)
    if not certificates:
        raise TlsError(_holds_instead(pem, name, "certificate", _PRIVATE_KEY, "a private key"))
    try:
        context.load_verify_locations(cadata=b"\n".join(certificates).decode("ascii", "replace"))
    except (ssl.SSLError, ValueError) as error:
        raise TlsError(f"{name} is damaged: copy it anew") from error


def _check_key(pem: bytes, name: str) -> None:
    if _ENCRYPTED.search(pem):
        raise TlsError(f"{name} is encrypted: store it without a passphrase (openssl pkey -in KEY -out NEW)")
    if not _PRIVATE_KEY.search(pem):
        raise TlsError(_holds_instead(pem, name, "private key", _CERTIFICATE, "a certificate"))


def _holds_instead(pem: bytes, name: str, wanted: str, other: re.Pattern[bytes], other_name: str) -> str:
    if not pem.strip():
        return f"{name} is empty: put the {wanted} there, in PEM form"
    if other.search(pem):
        return f"{name} holds {other_name} and no {wanted}: are the two swapped?"
    return f"{name} holds no {wanted} in PEM form: it should have a line that begins with -----BEGIN"


def _no_passphrase() -> NoReturn:
    """Without this OpenSSL would ask for a passphrase on the terminal and wait."""
    raise ssl.SSLError("the key is encrypted")


def _why_not_loaded(error: ssl.SSLError, names: PemNames) -> str:
    match error.reason:
        case "KEY_VALUES_MISMATCH" | "KEY_TYPE_MISMATCH":
            return f"{names.key} is not the key of {names.cert}: put back the pair that was issued together"
        case "EE_KEY_TOO_SMALL" | "CA_KEY_TOO_SMALL" | "CA_MD_TOO_WEAK" | "MD_TOO_WEAK":
            return (
                f"{names.cert} is too weak for this system's OpenSSL: issue one with a longer key and SHA-256"
            )
        case _:
            return f"{names.key} is damaged: copy it anew"


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """A path that OpenSSL can open, to bytes that should not lie on a disk.

    Python's ssl module loads a certificate chain only from files. Linux has files that live in memory and
    have no name but that of their descriptor; elsewhere it is a temporary file that nobody else may read and
    that is gone a moment later.
    """
    if sys.platform == "linux" and os.path.isdir(_OPEN_FILES):  # noqa: PTH112 - a question, not a path
        descriptor = os.memfd_create("tidegate-pem", os.MFD_CLOEXEC)
        with open(descriptor, "wb") as memory:  # noqa: PTH123 - a descriptor, which no Path can open
            memory.write(data)
            memory.flush()
            yield f"{_OPEN_FILES}/{descriptor}"
    else:
        with tempfile.NamedTemporaryFile(prefix="tidegate-") as file:  # mode 0600
            file.write(data)
            file.flush()
            yield file.name
