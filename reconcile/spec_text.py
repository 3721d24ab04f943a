"""What is in a specification, in the words of the state file.

Rule: this file alone decides how a setting is called and written where a change is
shown. Nothing of an inline key is ever part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from schemas.names import ProxyProtocol, ServiceEntry
from schemas.networks import Network, spell_network
from schemas.proxy_url import NoProxy, ProxyUrl
from schemas.quantities import spell_duration
from schemas.references import EnvRef, FileRef, InlinePem, Reference
from schemas.render import Inline, render_section
from schemas.state import OwnTunnel, TlsClient, TlsGateway

from .desired import (
    AdmissionSpec,
    ControlSpec,
    DeclarationSpec,
    EgressSpec,
    LinkSpec,
    ListenerSpec,
    ManagementSpec,
    ServicesSpec,
    Socks5Spec,
    Spec,
    Timing,
    WayOut,
)

# What a setting is compared by, and what is shown of it.
_Value: TypeAlias = tuple[object, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting before and after a change; None where there is none."""

    name: str
    before: str | None
    after: str | None


def changed_settings(before: Spec | None, after: Spec | None) -> tuple[Setting, ...]:
    """Every setting in which two specifications of one key differ. Routes are no settings."""
    old = {} if before is None else dict(_settings(before))
    new = {} if after is None else dict(_settings(after))
    return tuple(
        Setting(name=name, before=_shown(old.get(name)), after=_shown(new.get(name)))
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    )


def _shown(value: _Value | None) -> str | None:
    return None if value is None else value[1]


def _settings(spec: Spec) -> Iterator[tuple[str, _Value]]:
    match spec:
        case AdmissionSpec():
            yield from _admission(spec)
        case ControlSpec():
            yield from _tls(spec.tls)
            yield from _timing(spec.timing)
            yield from _balancers(spec.accept_proxy_protocol)
        case EgressSpec():
            yield from _egress(spec)
        case ManagementSpec():
            yield from _tls(spec.tls)
        case ListenerSpec():
            yield "peek_timeout", _duration(spec.peek_timeout)
            yield from _balancers(spec.accept_proxy_protocol)
        case ServicesSpec():
            for name, entry in spec.targets:
                yield f"service {name}", (entry, _service(entry))
        case DeclarationSpec():
            for tunnel in spec.tunnels:
                yield f"tunnel {tunnel.name}", (tunnel, _own_tunnel(tunnel))
        case Socks5Spec():
            yield "user", (spec.user, spec.user or "whoever can connect")
            if spec.password is not None:
                yield "password", (spec.password, _where(spec.password))
        case LinkSpec():
            yield "id", (spec.client_id, spec.client_id)
            yield from _tls(spec.tls)
            yield from _timing(spec.timing)
            yield from _way_out(spec.way_out)
        case _:
            assert_never(spec)


def _admission(spec: AdmissionSpec) -> Iterator[tuple[str, _Value]]:
    if spec.clients is None:
        yield "clients", (None, "every client that client_ca signed")
    else:
        for client in sorted(spec.clients):
            yield f"client {client}", (client, "may connect")
    if spec.domain is not None:
        yield "domain", (spec.domain, spec.domain)
    for admin in sorted(spec.admins):
        yield f"admin {admin}", (admin, "may change everything")
    for entry in spec.rights:
        for name, value in render_section(entry, inline=Inline.HIDDEN).items():
            if name != "id":
                yield f"client {entry.id} {name}", (value, _text(value))
    for revocation in spec.revoked:
        for name, value in render_section(revocation, inline=Inline.HIDDEN).items():
            yield f"revoked {name} {value}", (value, "is refused")


def _egress(spec: EgressSpec) -> Iterator[tuple[str, _Value]]:
    if spec.bind:
        yield "bind", (spec.bind, " ".join(spec.bind))
    for rule in spec.allow:
        said = render_section(rule, inline=Inline.HIDDEN)
        what = f"{_text(said['to'])} port {_text(said['ports'])}"
        yield f"egress {_text(said['client'])} to {what}", (rule, "is allowed")


def _balancers(networks: tuple[Network, ...]) -> Iterator[tuple[str, _Value]]:
    if networks:
        yield "accept_proxy_protocol", (frozenset(networks), " ".join(map(spell_network, networks)))


def _service(entry: ServiceEntry) -> str:
    if entry.health_check is None:
        return str(entry)
    return f"{entry} (health check every {spell_duration(entry.health_check)})"


def _own_tunnel(tunnel: OwnTunnel) -> str:
    said = render_section(tunnel, inline=Inline.HIDDEN)
    whom = f" for {_text(said['hostname'])}" if tunnel.hostname else ""
    protocol = "" if tunnel.proxy_protocol is ProxyProtocol.OFF else f" (PROXY {tunnel.proxy_protocol.value})"
    return f"{tunnel.service} on {_text(said['listen'])}{whom}{protocol}"


def _way_out(way: WayOut) -> Iterator[tuple[str, _Value]]:
    match way.proxy:
        case None:
            pass
        case NoProxy():
            yield "proxy", (way.proxy, way.proxy.value)
        case ProxyUrl():
            yield "proxy", (way.proxy, str(way.proxy))
        case reference:
            yield "proxy", (reference, _where(reference))
    if way.local_ports is not None:
        yield "local_ports", (way.local_ports, str(way.local_ports))


def _text(value: object) -> str:
    if value == []:
        return "none"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _tls(tls: TlsGateway | TlsClient) -> Iterator[tuple[str, _Value]]:
    for name in type(tls).model_fields:
        reference: Reference | None = getattr(tls, name)
        if reference is not None:
            yield f"tls.{name}", (reference, _where(reference))


def _where(reference: Reference) -> str:
    match reference:
        case FileRef(path):
            return path
        case EnvRef(name):
            return f"the environment variable {name}"
        case InlinePem():
            return "PEM in the file"
    assert_never(reference)


def _timing(timing: Timing) -> Iterator[tuple[str, _Value]]:
    yield "ping_interval", _duration(timing.ping_interval)
    yield "ping_timeout", _duration(timing.ping_timeout)
    yield "half_close_timeout", _duration(timing.half_close_timeout)


def _duration(seconds: float) -> _Value:
    return seconds, spell_duration(seconds)
