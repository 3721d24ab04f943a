"""The client's side of HTTP CONNECT: a way through a proxy (RFC 9110 section 9.3.6; RFC 7617 for a login).

Rule: this file alone says what an answer of a proxy means and what to do about it. Between the proxy's
answer and the first byte of the far side there is nothing else, and no page that comes with a refusal is
read.

How to use it: write ``request``; then give :meth:`HttpConnect.peek` everything that has come, until it says
where the far end's bytes begin.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Final

from .cursor import Buffer
from .errors import LocalProtocolError, RemoteProtocolError

# Of an answer, with the interim ones (1xx) before it. Proxies put cookies and whole reports into it, but
# squid itself takes no more than 64 KiB of a server. A proxy that does not stop fills no memory.
MAX_ANSWER: Final = 64 * 1024

_BEGINNING: Final = b"HTTP/1."
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: ([^\r\n]*))?")
_END: Final = re.compile(rb"\r?\n\r?\n")  # RFC 9112 section 2.2 lets a recipient take a single LF
_SCHEME: Final = re.compile(
    rb"^proxy-authenticate:[ \t]*([A-Za-z][A-Za-z0-9-]{0,30})", re.IGNORECASE | re.MULTILINE
)
_LONGEST_REASON: Final = 80

_NOT_HTTP: Final = "what answers there does not speak HTTP/1: check host and port of the proxy, and its kind"
_NOT_REACHED: Final = "it does not reach the gateway: check the gateway's address, and that it runs"
_ASKS: Final = "it wants to know who asks: set user and password in its URL"
_REFUSES: Final = "it refuses the user or the password; correct them in its URL"
_FORBIDS: Final = (
    "its rules do not allow it: have them allow CONNECT to this host and port, "
    "or let the gateway listen at port 443"
)
_REMEDIES: Final = {
    400: "it does not understand CONNECT: check that it is a proxy",
    401: "it is a web server and no proxy: check its host and port",
    403: _FORBIDS,
    404: "it is a web server and no proxy: check its host and port",
    405: _FORBIDS,
    429: "it finds that too many come: it is tried again",
    500: _NOT_REACHED,
    501: "it does not know CONNECT: check that it is a proxy",
    502: _NOT_REACHED,
    503: _NOT_REACHED,
    504: _NOT_REACHED,
}


class HttpConnect:
    """One request for a way to a host and a port.

    :param host: a name, which the proxy looks up, or an IP address without brackets.
    :param user: who we are; None does not say.
    :raises LocalProtocolError: if one of them cannot be said in HTTP.
    """

    __slots__ = ("_has_login", "request")

    def __init__(self, host: str, port: int, user: str | None = None, password: str | None = None) -> None:
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if not authority.isascii() or not authority.isprintable() or " " in authority:
            raise LocalProtocolError(f"{authority!a} is not a host and port")
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if user is not None:
            if ":" in user or not f"{user}{password or ''}".isprintable():
                raise LocalProtocolError(
                    "the user of an HTTP proxy may hold no colon, and no login a control character"
                )
            login = b64encode(f"{user}:{password or ''}".encode()).decode("ascii")
            lines.append(f"Proxy-Authorization: Basic {login}")
        self.request = "\r\n".join((*lines, "", "")).encode("ascii")
        self._has_login = user is not None

    def peek(self, buffer: Buffer) -> int | None:
        """How many bytes the answer has, None while it is not complete. What follows is the far end's.

        :raises RemoteProtocolError: if there is no way through; says what the proxy answered and what to do.
        """
        data = bytes(buffer[:MAX_ANSWER])
        start = 0
        while True:
            beginning = data[start : start + len(_BEGINNING)]
            if not _BEGINNING.startswith(beginning):
                raise RemoteProtocolError(_NOT_HTTP)
            end = _END.search(data, start)
            if end is None:
                if len(data) == MAX_ANSWER:
                    raise RemoteProtocolError(f"its answer has a head of more than {MAX_ANSWER} bytes")
                return None
            head = data[start : end.start()]
            status, reason = _status(head)
            if status == 101 or status >= 300:
                raise RemoteProtocolError(self._refusal(status, reason, head))
            if status >= 200:  # any of them, and its length says nothing: RFC 9110 section 9.3.6
                return end.end()
            start = end.end()  # an interim answer, behind which comes another

    def _refusal(self, status: int, reason: str, head: bytes) -> str:
        said = f"it answered {status} {reason}".rstrip()
        if status == 401 and self._has_login:  # what tinyproxy says of a wrong password
            return f"{said}: {_REFUSES}"
        if status == 407:
            schemes = [scheme.decode("ascii") for scheme in _SCHEME.findall(head)]
            if schemes and not any(scheme.lower() == "basic" for scheme in schemes):
                return (
                    f"{said}: it wants {' or '.join(schemes[:3])}, and only basic authentication is spoken "
                    "here; let it accept that, or put a proxy in between"
                )
            return f"{said}: {_REFUSES if self._has_login else _ASKS}"
        if 300 <= status < 400:
            return f"{said}: this network may want you to log in first (open any web page)"
        return f"{said}: {_REMEDIES.get(status, 'look into its log')}"


def _status(head: bytes) -> tuple[int, str]:
    line = head.partition(b"\n")[0].rstrip(b"\r")
    found = _STATUS.fullmatch(line)
    if found is None:
        raise RemoteProtocolError(_NOT_HTTP)
    reason = (found[2] or b"").decode("latin-1")[:_LONGEST_REASON]
    return int(found[1]), reason if reason.isprintable() else ""
