"""What is in a specification, in the words of the state file.

Rule: this file alone decides how a setting is called and written where a change is
shown. Nothing of an inline key is ever part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from schemas.quantities import spell_duration
from schemas.references import EnvRef, FileRef, InlinePem, Reference
from schemas.state import TlsClient, TlsGateway

from .desired import (
    AdmissionSpec,
    ControlSpec,
    LinkSpec,
    ListenerSpec,
    ManagementSpec,
    ServicesSpec,
    Spec,
    Timing,
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
        case ManagementSpec():
            yield from _tls(spec.tls)
        case ListenerSpec():
            yield "peek_timeout", _duration(spec.peek_timeout)
        case ServicesSpec():
            for name, target in spec.targets:
                yield f"service {name}", (target, str(target))
        case LinkSpec():
            yield "id", (spec.client_id, spec.client_id)
            yield from _tls(spec.tls)
            yield from _timing(spec.timing)
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


def _tls(tls: TlsGateway | TlsClient) -> Iterator[tuple[str, _Value]]:
    for name in type(tls).model_fields:
        reference: Reference = getattr(tls, name)
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
