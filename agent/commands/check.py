"""What ``tidegate check`` finds out: whether an agent would accept a state, and could use it.

Rule: nothing is opened but files, and nothing is changed. The keys and certificates
that a state names are read as the agent would read them, each problem at the place
where the state names them. A certificate that every other agent would turn away is a
problem too: the one who is turned away learns little of the reason.

Everything here blocks on the disk.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import ValidationError

from agent.keys.certificates import expiry_warning, utc_now
from agent.keys.credentials import (
    gateway_context,
    kind_of,
    link_context,
    read_pem,
    revocation_lists,
    size_limit,
)
from agent.keys.references import describe, exposure, resolve
from agent.keys.secret_text import read_secret
from agent.offline import STDIN, OfflineState, read_offline, read_stdin
from agent.view.cells import counted, printable
from schemas.errors import Place, Problem, TidegateError
from schemas.proxy_url import NoProxy, ProxyUrl
from schemas.quoting import quote
from schemas.references import EnvRef, FileRef, Reference
from schemas.roles import Role
from schemas.state import ClientState, GatewayState, State, TlsClient, TlsGateway
from schemas.text import Document, Syntax
from schemas.validating import Reading

_Tls: TypeAlias = TlsGateway | TlsClient
_MODELS: Final[Mapping[Role, type[TlsGateway] | type[TlsClient]]] = {
    Role.GATEWAY: TlsGateway,
    Role.CLIENT: TlsClient,
}


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
    for problem in (*checked.problems, *found.problems, *without_effect(checked), *found.warnings):
        print(printable(str(problem)), file=sys.stderr)
    if checked.state is None or found.problems:
        return 1
    print(f"{name}: {summary(checked.state)}")
    return 0


def check_files(checked: OfflineState, *, now: datetime) -> Findings:
    """Read every key, certificate and password that the state names, also beside other problems of it."""
    role: Role
    tls: _Tls
    match checked.state:
        case None:
            return Findings(problems=tuple(_problems_beside_others(checked.documents)))
        case GatewayState() as gateway:
            role, tls = Role.GATEWAY, gateway.gateway.tls
        case ClientState() as client:
            role, tls = Role.CLIENT, client.client.tls
    section = next(document for document in checked.documents if role.value in document.value)
    problems = tuple(_problems(section, role, tls)) or tuple(_misfits(section, checked.state))
    warnings = () if problems else tuple(_warnings(section, role, tls, now))
    password, proxy = _password(checked), _proxy(checked)
    return Findings(
        problems=(*problems, *password.problems, *proxy.problems),
        warnings=(*warnings, *password.warnings, *proxy.warnings),
    )


def without_effect(checked: OfflineState) -> Iterator[Problem]:
    """A warning for whatever a valid state says in vain."""
    for document in checked.documents if isinstance(checked.state, GatewayState) else ():
        tunnels = document.value.get("tunnels")
        for index, entry in enumerate(tunnels if isinstance(tunnels, list) else ()):
            if isinstance(entry, dict) and "balance" in entry and _has_one_client(entry):
                yield Problem(
                    document.locate(("tunnels", index, "balance"), key=True),
                    "warning: balance has no effect on a tunnel with one client: list several, or remove it",
                )


def _has_one_client(entry: Mapping[str, object]) -> bool:
    client = entry.get("client")
    return not isinstance(client, list) or len(client) == 1


def summary(state: State) -> str:
    """What a valid state declares, in one line."""
    match state:
        case GatewayState():
            listeners = {address for tunnel in state.tunnels for address in tunnel.listen}
            tunnels = f"{counted(len(state.tunnels), 'tunnel')} on {counted(len(listeners), 'listener')}"
            parts = [
                tunnels,
                "any client" if state.clients is None else counted(len(state.clients), "client"),
            ]
            if state.egress is not None:
                parts.append(counted(len(state.egress.allow), "egress rule"))
        case ClientState():
            own = [counted(len(state.tunnels), "own tunnel")] if state.tunnels else []
            port = [] if state.socks5 is None else [f"a SOCKS5 port at {state.socks5.listen}"]
            # Who has a port for programs only would wonder where the services are.
            services = (
                [counted(len(state.services), "service")] if state.services or not (own or port) else []
            )
            parts = [*services, *own, *port, counted(len(state.client.gateways), "gateway")]
    return f"valid: {', '.join(parts)}"


def _problems_beside_others(documents: Sequence[Document]) -> Iterator[Problem]:
    for document in documents:
        for role, model in _MODELS.items():
            section = document.value.get(role.value)
            if not isinstance(section, dict):
                continue
            with suppress(ValidationError):  # which is told already
                tls = model.model_validate(section.get("tls"), context=Reading(directory=document.directory))
                yield from _problems(document, role, tls)


def _problems(section: Document, role: Role, tls: _Tls) -> Iterator[Problem]:
    readable = True
    for key, reference in _references(tls).items():
        try:
            resolve(reference, limit=size_limit(key), kind=kind_of(key))
        except TidegateError as error:
            readable = False
            yield Problem(_place(section, role, key), str(error))
    if not readable:
        return
    try:
        match tls:
            case TlsGateway():
                gateway_context(tls)
                yield from _problems_of_lists(section, tls)
            case TlsClient():
                link_context(tls)
    except TidegateError as error:
        yield Problem(section.locate((role.value, "tls"), key=True), str(error))


def _problems_of_lists(section: Document, tls: TlsGateway) -> Iterator[Problem]:
    try:
        revocation_lists(tls, read_pem(tls))
    except TidegateError as error:
        yield Problem(_place(section, Role.GATEWAY, "crl"), str(error))


def _misfits(section: Document, state: State) -> Iterator[Problem]:
    """Why others would turn away a certificate that can be read: it is for another purpose, or another's."""
    match state:
        case GatewayState(gateway=gateway):
            role, cert, leaf = Role.GATEWAY, gateway.tls.cert, _leaf(gateway.tls)
            problem = None if leaf is None else _unfit_for_gateway(leaf)
        case ClientState(client=client):
            role, cert, leaf = Role.CLIENT, client.tls.cert, _leaf(client.tls)
            problem = None if leaf is None else _unfit_for_client(leaf, client.id)
    if problem is not None:
        yield Problem(_place(section, role, "cert"), f"{describe(cert)} {problem}")


def _unfit_for_gateway(leaf: _Leaf) -> str | None:
    if leaf.is_for(ExtendedKeyUsageOID.SERVER_AUTH):
        return None
    return (
        "is not for a gateway, and no client will accept it: "
        "name the gateway's certificate and key, or make them with tidegate pki gateway"
    )


def _unfit_for_client(leaf: _Leaf, client_id: str) -> str | None:
    """A gateway knows the client by its common name: the id, after which a domain may follow."""
    make = f"tidegate pki client DIR {client_id}"
    if not leaf.is_for(ExtendedKeyUsageOID.CLIENT_AUTH):
        return (
            "is not for a client, and no gateway will accept it: "
            f"name the client's certificate and key, or make them with {make}"
        )
    match leaf.common_names:
        case [name] if name.partition("@")[0] == client_id:
            return None
        case [name]:
            return (
                f"is that of {quote(name)} and client.id is {client_id}: "
                f"make the two the same, or make a certificate with {make}"
            )
        case names:
            return f"has {len(names) or 'no'} common names and needs one: make a certificate with {make}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leaf:
    """What the certificate that an agent shows says of itself. No purposes are all of them."""

    common_names: tuple[str, ...]
    purposes: frozenset[x509.ObjectIdentifier]

    def is_for(self, purpose: x509.ObjectIdentifier) -> bool:
        """RFC 5280, section 4.2.1.12."""
        return not self.purposes or bool(
            self.purposes & {purpose, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
        )


def _leaf(tls: _Tls) -> _Leaf | None:
    """The first certificate of the file. None: OpenSSL has taken it, and this library cannot read it."""
    try:
        certificate = x509.load_pem_x509_certificate(resolve(tls.cert))
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        usages = [
            extension.value
            for extension in certificate.extensions
            if isinstance(extension.value, x509.ExtendedKeyUsage)
        ]
    except (ValueError, x509.DuplicateExtension):
        return None
    return _Leaf(
        common_names=tuple(str(name.value) for name in names),
        purposes=frozenset(purpose for usage in usages for purpose in usage),
    )


def _warnings(section: Document, role: Role, tls: _Tls, now: datetime) -> Iterator[Problem]:
    for key, reference in _references(tls).items():
        if key == "key":
            warning = exposure(reference)
        elif key == "crl" and isinstance(tls, TlsGateway):
            lists = revocation_lists(tls, read_pem(tls))
            for found in lists.warnings(now) if lists is not None else ():
                yield Problem(_place(section, role, key), f"warning: {found}")
            continue
        else:
            warning = expiry_warning(resolve(reference), name=describe(reference), now=now)
        if warning is not None:
            yield Problem(_place(section, role, key), f"warning: {warning}")


def _password(checked: OfflineState) -> Findings:
    """What is wrong with the password of a SOCKS5 port."""
    state = checked.state
    if not isinstance(state, ClientState) or state.socks5 is None or state.socks5.password is None:
        return Findings()
    password = state.socks5.password
    section = next(document for document in checked.documents if "socks5" in document.value)
    place = section.locate(("socks5", "password"))
    try:
        read_secret(password)
    except TidegateError as error:
        return Findings(problems=(Problem(place, str(error)),))
    warning = exposure(password, kind="password")
    return Findings(warnings=() if warning is None else (Problem(place, f"warning: {warning}"),))


def _proxy(checked: OfflineState) -> Findings:
    """What is wrong with the proxy of a client, and who else may know its password."""
    proxy = checked.state.client.proxy if isinstance(checked.state, ClientState) else None
    if proxy is None or isinstance(proxy, NoProxy):
        return Findings()
    section = next(document for document in checked.documents if Role.CLIENT.value in document.value)
    place = section.locate((Role.CLIENT.value, "proxy"))
    if isinstance(proxy, ProxyUrl):
        where: FileRef | EnvRef = FileRef(section.name)
        url = proxy
    else:
        from agent.client.way_out import follow  # few have one

        try:
            url, where = follow(proxy), proxy
        except TidegateError as error:
            return Findings(problems=(Problem(place, str(error)),))
    warning = None if url.password is None else exposure(where, kind="password of the proxy in")
    return Findings(warnings=() if warning is None else (Problem(place, f"warning: {warning}"),))


def _references(tls: _Tls) -> dict[str, Reference]:
    """The references by the key that names them in the file."""
    match tls:
        case TlsGateway():
            found = {"cert": tls.cert, "key": tls.key, "client_ca": tls.client_ca}
            return found if tls.crl is None else {**found, "crl": tls.crl}
        case TlsClient():
            return {"cert": tls.cert, "key": tls.key, "ca": tls.ca}


def _place(section: Document, role: Role, key: str) -> Place:
    return section.locate((role.value, "tls", key))
