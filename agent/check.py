"""What ``tidegate check`` finds out: whether an agent would accept a state, and could use it.

Rule: nothing is opened but files, and nothing is changed. The keys and certificates
that a state names are read as the agent would read them, each problem at the place
where the state names them.

Everything here blocks on the disk.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from schemas.errors import Place, Problem, TidegateError
from schemas.references import Reference
from schemas.roles import Role
from schemas.state import ClientState, GatewayState, State, TlsClient, TlsGateway
from schemas.text import Document, Syntax

from .cells import counted, printable
from .certificates import expiry_warning, utc_now
from .credentials import gateway_context, link_context
from .offline import STDIN, OfflineState, read_offline, read_stdin
from .references import describe, exposure, resolve

_Tls: TypeAlias = TlsGateway | TlsClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What is wrong with the keys and certificates of a state, and what soon may be."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def run_check(path: Path, *, files: bool, syntax: str) -> int:
    """The command. ``path`` may be ``-`` for standard input.

    :returns: the exit status.
    :raises TidegateError: if there is nothing to read.
    """
    if str(path) == "-":
        name, checked = STDIN, read_stdin(sys.stdin.buffer.read(), Syntax[syntax])
    else:
        name, checked = printable(str(path)), read_offline(path)
    found = check_files(checked, now=utc_now()) if files else Findings()
    for problem in (*checked.problems, *found.problems, *found.warnings):
        print(printable(str(problem)), file=sys.stderr)
    if checked.state is None or found.problems:
        return 1
    print(f"{name}: {summary(checked.state)}")
    return 0


def check_files(checked: OfflineState, *, now: datetime) -> Findings:
    """Read every key and certificate that the state names."""
    role: Role
    tls: _Tls
    match checked.state:
        case None:
            return Findings()
        case GatewayState() as gateway:
            role, tls = Role.GATEWAY, gateway.gateway.tls
        case ClientState() as client:
            role, tls = Role.CLIENT, client.client.tls
    section = next(document for document in checked.documents if role.value in document.value)
    problems = tuple(_problems(section, role, tls))
    return Findings(problems=problems, warnings=() if problems else tuple(_warnings(section, role, tls, now)))


def summary(state: State) -> str:
    """What a valid state declares, in one line."""
    match state:
        case GatewayState():
            listeners = {address for tunnel in state.tunnels for address in tunnel.listen}
            clients = "any client" if state.clients is None else counted(len(state.clients), "client")
            return (
                f"valid: {counted(len(state.tunnels), 'tunnel')} on "
                f"{counted(len(listeners), 'listener')}, {clients}"
            )
        case ClientState():
            services = counted(len(state.services), "service")
            return f"valid: {services}, {counted(len(state.client.gateways), 'gateway')}"


def _problems(section: Document, role: Role, tls: _Tls) -> Iterator[Problem]:
    readable = True
    for key, reference in _references(tls).items():
        try:
            resolve(reference)
        except TidegateError as error:
            readable = False
            yield Problem(_place(section, role, key), str(error))
    if not readable:
        return
    try:
        match tls:
            case TlsGateway():
                gateway_context(tls)
            case TlsClient():
                link_context(tls)
    except TidegateError as error:
        yield Problem(section.locate((role.value, "tls"), key=True), str(error))


def _warnings(section: Document, role: Role, tls: _Tls, now: datetime) -> Iterator[Problem]:
    for key, reference in _references(tls).items():
        if key == "key":
            warning = exposure(reference)
        else:
            warning = expiry_warning(resolve(reference), name=describe(reference), now=now)
        if warning is not None:
            yield Problem(_place(section, role, key), f"warning: {warning}")


def _references(tls: _Tls) -> dict[str, Reference]:
    """The references by the key that names them in the file."""
    match tls:
        case TlsGateway():
            return {"cert": tls.cert, "key": tls.key, "client_ca": tls.client_ca}
        case TlsClient():
            return {"cert": tls.cert, "key": tls.key, "ca": tls.ca}


def _place(section: Document, role: Role, key: str) -> Place:
    return section.locate((role.value, "tls", key))
