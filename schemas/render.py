"""A state as a document of the state file.

Rule: what is rendered and read again is the same state. What has its default is left
out, so a document says what a person would have to write; paths are as they were
resolved. What is not always told is PEM text, or the password of a proxy, that stands in a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final, TypeAlias, assert_never

from pydantic import BaseModel

from .egress import HostGlob
from .gateway_address import WebSocketUrl
from .merge import VERSION
from .names import HostPort, ListenAddress, ServiceEntry, TcpTarget, UnixTarget
from .networks import spell_network
from .ports import ListenPattern, PortRange
from .proxy_url import ProxyUrl
from .quantities import parse_duration, spell_duration
from .references import EnvRef, FileRef, InlinePem, Reference
from .revocation import spell_serial
from .state import ClientState, Revocation, State

#: What JSON can hold, and YAML and TOML as well.
Rendered: TypeAlias = dict[str, Any]

#: Stands for PEM text that is not shown. It is no reference: a file with it is refused.
HIDDEN: Final = {"inline": "hidden"}


class Inline(Enum):
    """Whether secrets are shown that stand in a state file."""

    SHOWN = "shown"
    HIDDEN = "hidden"


def render_state(state: State, *, inline: Inline) -> Rendered:
    """The whole state as one document."""
    return {"tidegate": VERSION, **render_section(state, inline=inline)}


def render_section(section: BaseModel, *, inline: Inline) -> Rendered:
    """One section or entry of a state, such as a tunnel."""
    return dict(_fields(section, inline))


def _fields(section: BaseModel, inline: Inline) -> Iterator[tuple[str, object]]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if not field.is_required() and value == field.default:
            continue
        if isinstance(section, ClientState) and name == "services":
            yield name, {service: _service(entry) for service, entry in section.services}
        elif isinstance(section, Revocation) and name == "serial":
            yield name, spell_serial(value)
        else:
            yield name, _value(value, inline)


def _value(value: object, inline: Inline) -> object:
    match value:
        case BaseModel():
            return render_section(value, inline=inline)
        case FileRef() | EnvRef() | InlinePem():
            return _reference(value, inline)
        case ListenAddress() | HostPort() | TcpTarget() | UnixTarget() | WebSocketUrl():
            return str(value)
        case HostGlob() | PortRange() | ListenPattern():
            return str(value)
        case IPv4Network() | IPv6Network():
            return spell_network(value)
        case ProxyUrl():
            return value.whole if inline is Inline.SHOWN or value.password is None else dict(HIDDEN)
        case Enum():
            return value.value
        case tuple():
            return [_value(item, inline) for item in value]
        case float():
            return _duration(value)
        case _:
            return value


def _service(entry: ServiceEntry) -> object:
    if entry.health_check is None:
        return str(entry.target)
    return {"address": str(entry.target), "health_check": _duration(entry.health_check)}


def _reference(reference: Reference, inline: Inline) -> object:
    match reference:
        case FileRef(path=path):
            return {"file": path}
        case EnvRef(name=name):
            return {"env": name}
        case InlinePem(pem=pem):
            return pem if inline is Inline.SHOWN else dict(HIDDEN)
    assert_never(reference)


def _duration(seconds: float) -> str:
    """As a person would write it, if that is exactly this long."""
    text = spell_duration(seconds)
    return text if parse_duration(text) == seconds else f"{Decimal(repr(seconds)):f}s"
