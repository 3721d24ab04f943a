"""What the gateway's file lets a client declare, and what a client is told that asks for more.

Rule: what a right means is for ``schemas.rights`` to say; here it becomes an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus

from schemas.rights import Breach, Right, own_breaches
from schemas.state import ClientEntry, Tunnel

from .identity import Caller
from .problems import ApiError, Path, RequestProblem


def check_own_rights(
    caller: Caller, clients: Iterable[ClientEntry], asked: Sequence[Tunnel], paths: Sequence[Path]
) -> None:
    """See that the file lets a client declare these. An admin may declare what an operator may write.

    :param clients: those that the file lists.
    :param paths: where in the body each of the tunnels stands.
    :raises ApiError: 403 if it may not.
    """
    if caller.is_admin:
        return
    entry = next((client for client in clients if client.id == caller.client), None)
    problems = [
        RequestProblem(path=(*path, *_key_of(breach, path)), message=breach.message)
        for breach in own_breaches(entry, asked)
        for path in [paths[breach.tunnel]]
    ]
    if problems:
        message = f"{caller.name} may not declare these tunnels; ask the operator of the gateway to allow it"
        raise ApiError(HTTPStatus.FORBIDDEN, message, problems)


def _key_of(breach: Breach, path: Path) -> Path:
    """The key of a tunnel that is in breach, in threshold's words or in ours."""
    is_thresholds = len(path) == 1
    match breach.right:
        case Right.SERVICES:
            return ("BackEndService" if is_thresholds else "service",)
        case Right.LISTEN:
            return ("ListenPort" if is_thresholds else "listen",)
        case Right.DECLARES | Right.MAX_PORTS:
            return ()
