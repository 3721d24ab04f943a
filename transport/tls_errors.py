"""Why a TLS handshake failed, in one sentence that says what to do.

Rule: OpenSSL's words are translated here and nowhere else. "This side" is the
program that reports; the other side may be the client or the gateway.

In TLS 1.3 the client is done before the gateway has looked at its certificate: a
refusal reaches it as an alert on its first read, not as a failed handshake. Give
that error to :func:`explain_tls_error` too.

Two libraries name the same reason differently: Python has OpenSSL's identifiers
(``SSLV3_ALERT_BAD_CERTIFICATE``), aiofastnet the text in capitals, which OpenSSL
changes now and then (``SSL/TLS_ALERT_BAD_CERTIFICATE``). So alerts are known by
their end.
"""

from __future__ import annotations

import re
import socket
import ssl
from typing import Final

_ALERT: Final = re.compile(r"(?:SSLV3|TLSV1|TLSV13|SSL/TLS)_(?:ALERT_)?(?P<name>[A-Z_]+)")

_BY_PURPOSE: Final = "a client needs one from tidegate pki client, a gateway one from tidegate pki gateway"

_TEXT: Final = re.compile(r"\] (?P<reason>[^(:]+?) *(?:\(_ssl\.c|:|$)")

# What the other side says of us before it hangs up: the alerts of RFC 8446, section 6.2.
_ALERTS: Final = {
    "UNKNOWN_CA": (
        "the other side does not know the authority that signed this side's certificate: "
        "use a certificate signed by the CA that it trusts"
    ),
    "BAD_CERTIFICATE": (
        "the other side refuses this side's certificate: check that it is for this name and was not altered"
    ),
    "UNSUPPORTED_CERTIFICATE": (
        f"the other side refuses this side's certificate as made for another purpose: {_BY_PURPOSE}"
    ),
    "CERTIFICATE_EXPIRED": (
        "the other side finds this side's certificate expired or not yet valid: "
        "issue a new one, or set the clocks of both machines"
    ),
    "CERTIFICATE_REVOKED": "the other side finds this side's certificate revoked: issue a new one",
    "CERTIFICATE_UNKNOWN": "the other side cannot use this side's certificate: issue a new one",
    "CERTIFICATE_REQUIRED": "the other side asks for a certificate and this side has none: set tls.cert",
    "ACCESS_DENIED": "the other side refuses this side's certificate: ask its operator",
    "HANDSHAKE_FAILURE": (
        "the other side breaks off the handshake: it wants a certificate or has no cipher of this side's"
    ),
    "PROTOCOL_VERSION": "the other side refuses TLS 1.2 and 1.3: upgrade it",
    "NO_APPLICATION_PROTOCOL": "the other side speaks another protocol: check the address and port",
    "UNRECOGNIZED_NAME": (
        "the other side does not answer to the name that was dialed: check the address and port"
    ),
    "DECRYPT_ERROR": "the other side finds this side's signature wrong: check that key and certificate match",
    "INTERNAL_ERROR": "the other side failed inside: look into its log",
}

_NOT_TLS: Final = "the other side does not speak TLS: check the address and port"
_NOTHING_IN_COMMON: Final = "the two sides have no TLS version or cipher in common: upgrade the older one"

# What this side found wrong itself.
_REASONS: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": (
        "the other side showed no certificate: only clients with a certificate of this CA may connect"
    ),
    "HTTP_REQUEST": "the other side speaks plain HTTP on a port that wants TLS: use https:// or another port",
    "HTTPS_PROXY_REQUEST": "the other side takes this port for an HTTP proxy: check its address and port",
    "WRONG_VERSION_NUMBER": _NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": _NOT_TLS,
    "RECORD_LAYER_FAILURE": _NOT_TLS,
    "BAD_RECORD_TYPE": _NOT_TLS,
    "UNKNOWN_PROTOCOL": _NOT_TLS,
    "UNEXPECTED_MESSAGE": _NOT_TLS,
    "UNSUPPORTED_PROTOCOL": _NOTHING_IN_COMMON,
    "NO_PROTOCOLS_AVAILABLE": _NOTHING_IN_COMMON,
    "NO_SHARED_CIPHER": _NOTHING_IN_COMMON,
    "VERSION_TOO_LOW": _NOTHING_IN_COMMON,
}

_UNKNOWN_ISSUER: Final = (
    "the other side's certificate is not signed by the authority this side trusts: "
    "check that the CA in the state file is the one that signed it"
)
_WRONG_NAME: Final = (
    "the gateway's certificate is not for the name or address that was dialed{detail}: "
    "dial it by a name in the certificate, or issue one for this name with tidegate pki gateway"
)

_WRONG_PURPOSE: Final = 26
# X509_V_ERR_* of openssl/x509_vfy.h. These numbers are part of OpenSSL's interface.
_VERIFICATION: Final = {
    2: _UNKNOWN_ISSUER,
    18: _UNKNOWN_ISSUER,
    19: _UNKNOWN_ISSUER,
    20: _UNKNOWN_ISSUER,
    21: _UNKNOWN_ISSUER,
    7: "the signature on the other side's certificate is wrong, so it was altered: issue a new one",
    9: "the other side's certificate is not valid yet: set the clocks of both machines",
    10: "the other side's certificate has expired: issue a new one",
    _WRONG_PURPOSE: f"the other side's certificate was made for another purpose: {_BY_PURPOSE}",
}
_MISMATCH: Final = (62, 64)  # host name, IP address

_CLOSED: Final = (
    "the other side closed the connection during the TLS handshake: "
    "its log may say why, if it is a Tidegate gateway or client at all"
)


def explain_tls_error(error: BaseException) -> str:
    """One sentence for what went wrong while connecting, shaking hands, or reading for the first time.

    An exception that wraps an ``OSError`` (anyio's do) is looked into.
    """
    match _root(error):
        case ssl.SSLCertVerificationError() as failure:
            return _explain_verification(failure)
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError() | ssl.SSLSyscallError():
            return _CLOSED
        case ssl.SSLError() as failure:
            return _explain_reason(failure)
        case ConnectionRefusedError():
            return "nothing listens there: check that the gateway runs, and the address and port"
        case ConnectionAbortedError() | TimeoutError():
            return "the other side did not answer in time: check the address, the port and the firewall"
        case ConnectionResetError() | BrokenPipeError() | EOFError():
            return _CLOSED
        case socket.gaierror():
            return "the name is not known: check its spelling and this machine's DNS"
        case OSError() as failure:
            return failure.strerror or str(failure) or type(failure).__name__
        case other:
            return str(other) or type(other).__name__


def explain_outer_error(error: BaseException, server: str) -> str:
    """As :func:`explain_tls_error`, of TLS around a link. Its certificate need not be ours.

    :param server: whoever is there, in words.
    """
    failure = _root(error)
    if not isinstance(failure, ssl.SSLCertVerificationError):
        return explain_tls_error(error)
    said, whose = _explain_verification(failure), f"the certificate of {server}"
    code = getattr(failure, "verify_code", 0)
    if code in _MISMATCH:
        what = said.partition(":")[0].removeprefix("the gateway's certificate")
        return f"{whose}{what}: dial it by a name in the certificate, or have one issued for this name"
    if _VERIFICATION.get(code) == _UNKNOWN_ISSUER:
        return (
            f"{whose} is signed by no authority that this system or client.tls.ca trusts: check what answers "
            "there, or add the authority to one of the two"
        )
    if code == _WRONG_PURPOSE:
        return f"{whose} was made for another purpose: issue one for a server"
    return said.replace("the other side's certificate", whose)


def _root(error: BaseException) -> BaseException:
    """The first exception of the chain that says something about a connection."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError | EOFError):
            return link
        link = link.__cause__ or link.__context__
    return error


def _explain_verification(error: ssl.SSLCertVerificationError) -> str:
    code = getattr(error, "verify_code", 0)
    message = getattr(error, "verify_message", "") or "it could not be verified"
    if code in _MISMATCH:
        _, quote, dialed = message.partition(" for '")
        return _WRONG_NAME.format(detail=f" ({dialed.rstrip(chr(39) + '.')})" if quote else "")
    return _VERIFICATION.get(code, f"the other side's certificate is refused ({message}): issue a new one")


def _explain_reason(error: ssl.SSLError) -> str:
    reason = _reason(error)
    if reason.startswith("UNEXPECTED_EOF"):
        return _CLOSED
    if reason in _REASONS:
        return _REASONS[reason]
    alert = _ALERT.fullmatch(reason)
    if alert is not None and alert["name"] in _ALERTS:
        return _ALERTS[alert["name"]]
    said = reason.replace("_", " ").lower() or "no reason given"
    return f"the TLS handshake failed ({said}): look into the other side's log"


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's reason in capitals. Python has no name for the newer ones, only their text."""
    if error.reason:
        return error.reason
    text = _TEXT.search(str(error))
    return text["reason"].upper().replace(" ", "_") if text is not None else ""
