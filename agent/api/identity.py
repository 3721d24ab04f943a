"""Who calls, and what they may do.

Rule: this file alone turns a connection into a ``Caller``. It is asked anew for
every request, so that an admission that changed holds at once, also on connections
that are open. Whoever can open the unix socket is an admin: its mode is 0600, so
that is the user the agent runs as, and root.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from reconcile.desired import AdmissionSpec
from schemas.names import ClientId
from transport.tls import IdentityError, client_id_from, peer_identity

from .problems import ApiError

if TYPE_CHECKING:
    from starlette.requests import Request

#: The name under which the unix socket declares tunnels. A client id cannot be it, for it has a space.
UNIX_SOCKET: Final = "unix socket"

#: What :meth:`ssl.SSLSocket.getpeercert` says, None on a connection without TLS.
PeerCertificate: TypeAlias = Mapping[str, Any] | None

#: Gives the peer's certificate as DER, and those above it as far as they are known; nothing without TLS.
GetChain: TypeAlias = Callable[[], Sequence[bytes]]

#: Says whether a certificate is refused although an authority vouches for it.
IsRevoked: TypeAlias = Callable[[Mapping[str, Any], GetChain], bool]

_KEY: Final = "tidegate.identify"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls. ``client`` is None on the unix socket."""

    name: str
    client: ClientId | None
    is_admin: bool


class Identify(Protocol):
    """Says who is on a connection, given its certificate."""

    def __call__(self, certificate: PeerCertificate, chain: GetChain = tuple) -> Caller:
        """
        :raises ApiError: 403 if that is nobody we know, or somebody whose certificate was revoked.
        """


def on_unix_socket(certificate: PeerCertificate, chain: GetChain = tuple) -> Caller:
    """The ``Identify`` of the unix socket."""
    return Caller(name=UNIX_SOCKET, client=None, is_admin=True)


class ByCertificate:
    """The ``Identify`` of a TLS port.

    :param admission: gives who may connect now.
    """

    def __init__(
        self, admission: Callable[[], AdmissionSpec], is_revoked: IsRevoked = lambda certificate, chain: False
    ) -> None:
        self._admission = admission
        self._is_revoked = is_revoked

    def __call__(self, certificate: PeerCertificate, chain: GetChain = tuple) -> Caller:
        admission = self._admission()
        if self._is_revoked(certificate or {}, chain):
            message = "this certificate has been revoked: ask the operator for another"
            raise ApiError(HTTPStatus.FORBIDDEN, message)
        try:
            client = client_id_from(peer_identity(dict(certificate or {})), admission.domain)
        except IdentityError as error:
            raise ApiError(HTTPStatus.FORBIDDEN, str(error)) from error
        is_admin = client in admission.admins
        if not is_admin and admission.clients is not None and client not in admission.clients:
            raise ApiError(
                HTTPStatus.FORBIDDEN,
                f'the gateway does not list "{client}": add it to clients, or to gateway.admins, '
                "in the gateway's state file",
            )
        return Caller(name=client, client=client, is_admin=is_admin)


def attach(state: dict[str, Any], identify: Callable[[], Caller]) -> None:
    """Tell the app, through the state of a request, who can say who sent it."""
    state[_KEY] = identify


def caller_of(request: Request) -> Caller:
    """Who sent the request.

    :raises ApiError: 403 if that is nobody we know.
    """
    identify: Callable[[], Caller] = request.scope["state"][_KEY]  # without one there is no answer
    return identify()
