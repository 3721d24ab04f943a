"""The JSON Schema of a state file, for editors and for whoever checks files without Tidegate.

Rule: it never refuses what ``tidegate check`` takes. What it takes ``check`` may still refuse, because
a schema cannot see how entries fit together, nor all of how a text is spelled. Which keys there are, what
they mean and what they are by default is read from the models of ``state``; only how a value is written is
said here, once for each type of field. An agent that runs has no use for this file.

``schemas/gateway.schema.json`` and ``schemas/client.schema.json`` are what it gives. After a change of the
models, write them anew: ``tidegate schema gateway > schemas/gateway.schema.json``, and the same for client.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from . import fields, patterns
from .log_level import LogLevel
from .merge import VERSION
from .messages import MAX_SERVICES, MAX_SESSIONS
from .names import Balance, Declares, ProxyProtocol
from .proxy_url import NoProxy
from .quantities import SECONDS, spell_duration
from .quoting import PEM_START
from .roles import Role
from .state import (
    ClientEntry,
    ClientState,
    Egress,
    EgressRule,
    GatewayState,
    OwnTunnel,
    Revocation,
    Socks5,
    Tunnel,
)

Schema: TypeAlias = dict[str, Any]

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_MODELS: Final[Mapping[Role, type[BaseModel]]] = {Role.GATEWAY: GatewayState, Role.CLIENT: ClientState}

# Written by Tidegate into its own fragment; a state file may not hold it.
_NOT_FOR_OPERATORS: Final = frozenset({"declared_by"})


class _Spelling(NamedTuple):
    """How a value is written, in words and for programs."""

    how: str
    schema: Schema


def _text(pattern: str, how: str, **more: object) -> _Spelling:
    # An editor shows the message, which is no word of JSON Schema itself, and not the expression.
    return _Spelling(
        how, {"type": "string", "pattern": pattern, "patternErrorMessage": f"Expected: {how}", **more}
    )


def _mapping_of_one(key: str, text: _Spelling, **more: object) -> Schema:
    return {
        "type": "object",
        "properties": {key: {"description": text.how, **text.schema, **more}},
        "required": [key],
        "additionalProperties": False,
    }


def _text_like(pattern: str) -> Schema:
    return {"type": "string", "pattern": pattern}


_PATH: Final = _text(patterns.PATH, "A path; a relative one starts at the directory of the state file.")
_VARIABLE: Final = _text(
    patterns.ENVIRONMENT_VARIABLE, "The name of an environment variable that holds PEM text."
)

_DURATION: Final = _text(
    patterns.DURATION,
    f"A number and its unit ({', '.join(SECONDS)}), more than zero and at most a year.",
    **{"not": _text_like(patterns.ZERO_DURATION)},
)
_TARGET: Final = _text(
    patterns.TARGET,
    "A host and a port, as in 127.0.0.1:8443, or a unix socket, as in unix:/run/app.sock.",
)

# An editor shows the description beside a key alone, so that of a definition is put there and not here.
_DEFINITIONS: Final[Mapping[str, _Spelling]] = {
    "name": _text(
        patterns.NAME,
        'At most 128 letters (a to z), digits, ".", "_" and "-", of which the first is a letter or a digit.',
    ),
    "duration": _DURATION,
    "duration_or_zero": _text(
        patterns.DURATION, f"A number and its unit ({', '.join(SECONDS)}), at most a year."
    ),
    "path": _PATH,
    "reference": _Spelling(
        "A path, {file: PATH}, {env: VARIABLE} or the PEM text itself; "
        "a relative path starts at the directory of the state file.",
        {
            "anyOf": [
                _PATH.schema,
                {"type": "string", "pattern": PEM_START},
                _mapping_of_one("file", _PATH, **{"not": _text_like(PEM_START)}),
                _mapping_of_one("env", _VARIABLE),
            ]
        },
    ),
    "listen_address": _text(
        patterns.LISTEN_ADDRESS,
        "An IP address of this machine and a port, as in 0.0.0.0:443 and [::]:443; "
        "a port alone, as in :443, is both of these.",
    ),
    "hostname": _text(
        patterns.HOSTNAME, "A name, or a pattern of one in which * stands for anything, dots too."
    ),
    "domain": _text(patterns.DOMAIN, "A DNS name.", **{"not": _text_like(patterns.IPV4_ADDRESS)}),
    "network": _text(patterns.NETWORK, "An address or a network, as in 192.0.2.7 and 192.0.2.0/24."),
    "address": _text(patterns.LOCAL_ADDRESS, "An IP address of this machine."),
    "destination": _Spelling(
        "A host name or a pattern of one, an address or a network, as in *.example.com and 192.0.2.0/24; "
        "* is any host.",
        {
            "anyOf": [
                _text_like(patterns.NETWORK),
                {**_text_like(patterns.HOSTNAME), "not": _text_like(patterns.LIKE_NUMBERS)},
            ]
        },
    ),
    "ports": _Spelling(
        "A port, or a range as in 8000-8099; * is every port.",
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 65535},
                {"type": "string", "pattern": patterns.PORTS},
            ]
        },
    ),
    "port_range": _text(patterns.PORTS, "A port, or a range as in 40000-40010."),
    "listen_pattern": _text(
        patterns.LISTEN_PATTERN,
        "An address and ports, as in 0.0.0.0:8000-8999 (every IPv4 address) and :443 (any address); "
        "* is every port.",
    ),
    "service_pattern": _text(patterns.SERVICE_GLOB, "The name of a service, or a pattern of one."),
    "client_or_any": _text(patterns.CLIENT_OR_ANY, "The id of a client; * is every client."),
    "gateway": _text(
        patterns.GATEWAY,
        "A host name or an IP address, and a port, as in gw1.example.com:9056 and [::1]:9056, or the URL of "
        "a WebSocket, as in wss://gw1.example.com/tunnel.",
    ),
    "proxy": _Spelling(
        "A URL, {file: PATH}, {env: VARIABLE} or none.",
        {
            "anyOf": [
                {"const": NoProxy.NONE.value},
                {"type": "string", "pattern": patterns.PROXY_URL},
                _mapping_of_one("file", _PATH, **{"not": _text_like(PEM_START)}),
                _mapping_of_one("env", _VARIABLE),
            ]
        },
    ),
    "secret": _Spelling(
        "{file: PATH} or {env: VARIABLE}.",
        {
            "anyOf": [
                _mapping_of_one("file", _PATH, **{"not": _text_like(PEM_START)}),
                _mapping_of_one("env", _VARIABLE),
            ]
        },
    ),
    "socks5_listen": _text(
        patterns.SOCKS5_LISTEN, "An IP address of this machine and a port, or unix: and a path."
    ),
    "user": _text(patterns.USER, "At most 255 bytes.", maxLength=255),
    "serial": _Spelling(
        "In hexadecimal, as in 4f:2a:09 and 0x4f2a09, or in decimal.",
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": patterns.SERIAL},
            ]
        },
    ),
    "fingerprint": _text(patterns.FINGERPRINT, "64 hexadecimal digits, with colons or without."),
    "service": _Spelling(
        _TARGET.how + " Or {address: ADDRESS, health_check: DURATION}, to offer it only while it answers.",
        {
            "anyOf": [
                _TARGET.schema,
                {
                    "type": "object",
                    "properties": {
                        "address": {"description": _TARGET.how, **_TARGET.schema},
                        "health_check": {
                            "description": "How often to try whether it answers.",
                            **_DURATION.schema,
                        },
                    },
                    "required": ["address"],
                    "additionalProperties": False,
                },
            ]
        },
    ),
}


def _one(definition: str) -> Schema:
    return {"$ref": f"#/$defs/{definition}"}


def _one_or_list(definition: str, **more: object) -> Schema:
    several = {"type": "array", "items": _one(definition), "uniqueItems": True, **more}
    return {"anyOf": [_one(definition), several]}


def _one_or_more(definition: str) -> Schema:
    return _one_or_list(definition, minItems=1)


# How the value of each type of field is written.
_WRITTEN: Final[Mapping[object, Schema]] = {
    fields.NameField: _one("name"),
    fields.DomainField: _one("domain"),
    fields.PathField: _one("path"),
    fields.FlagField: {"type": "boolean"},
    fields.SessionsField: {"type": "integer", "minimum": 1, "maximum": MAX_SESSIONS},
    fields.ReferenceField: _one("reference"),
    fields.DurationField: _one("duration"),
    fields.DrainField: _one("duration_or_zero"),
    fields.ClientIdField: _one("name"),
    fields.TunnelNameField: _one("name"),
    fields.ServiceNameField: _one("name"),
    fields.ProxyProtocolField: {"enum": [member.value for member in ProxyProtocol]},
    fields.LogLevelField: {"enum": [member.value for member in LogLevel]},
    fields.ListenField: _one_or_more("listen_address"),
    fields.ManagementField: _one_or_more("listen_address"),
    fields.HostnameField: _one_or_more("hostname"),
    fields.ClientsField: _one_or_more("name"),
    fields.AdminsField: _one_or_list("name"),
    fields.GatewaysField: _one_or_more("gateway"),
    fields.OptionalReferenceField: _one("reference"),
    fields.BalanceField: {"enum": [member.value for member in Balance]},
    fields.DeclaresField: {"enum": [member.value for member in Declares]},
    fields.NetworksField: _one_or_list("network"),
    fields.ServiceGlobsField: _one_or_list("service_pattern"),
    fields.ListenPatternsField: _one_or_list("listen_pattern"),
    fields.MaxPortsField: {"type": "integer", "minimum": 0, "maximum": 65535},
    fields.SerialField: _one("serial"),
    fields.FingerprintField: _one("fingerprint"),
    fields.BindField: _one_or_list("address", maxItems=2),
    fields.EgressClientsField: _one_or_more("client_or_any"),
    fields.DestinationsField: _one_or_more("destination"),
    fields.PortsField: _one_or_more("ports"),
    fields.PortRangeField: _one("port_range"),
    fields.ProxyField: _one("proxy"),
    fields.PasswordField: _one("secret"),
    fields.Socks5ListenField: _one("socks5_listen"),
    fields.SocksUserField: _one("user"),
    fields.ServicesField: {
        "type": "object",
        "propertyNames": _one("name"),
        "additionalProperties": _one("service"),
        "maxProperties": MAX_SERVICES,
    },
}
# Of the entries of a list, a schema can tell that two are the same, but not that their names are.
_ENTRIES: Final[Mapping[object, tuple[type[BaseModel], Schema]]] = {
    tuple[Tunnel, ...]: (Tunnel, {}),
    tuple[ClientEntry, ...] | None: (ClientEntry, {"uniqueItems": True}),
    tuple[EgressRule, ...]: (EgressRule, {}),
    tuple[Revocation, ...]: (Revocation, {}),
    tuple[OwnTunnel, ...]: (OwnTunnel, {}),
}
# Sections that may be left out, and keys of which an entry has one at least, or both or none.
_SECTIONS: Final[Mapping[object, type[BaseModel]]] = {Egress | None: Egress, Socks5 | None: Socks5}
_MORE: Final[Mapping[type[BaseModel], Schema]] = {
    Revocation: {"minProperties": 1},
    Socks5: {"dependentRequired": {"user": ["password"], "password": ["user"]}},
}


def schema_text(role: Role) -> str:
    """The JSON Schema (draft 2020-12) of a state file of that role, as indented JSON in ASCII."""
    return json.dumps(schema_of(role), indent=2) + "\n"


def schema_of(role: Role) -> Schema:
    """The JSON Schema (draft 2020-12) of a state file of that role."""
    body = _mapping(_MODELS[role])
    version = {
        "description": "The version of the language of this file; each file of a directory names it.",
        "type": "integer",
        "const": VERSION,
    }
    used = frozenset(_references(body))
    return {
        "$schema": _DIALECT,
        **body,
        "description": f"The state file of a Tidegate {role.value}.",
        "properties": {"tidegate": version, **body["properties"]},
        "required": ["tidegate", *body["required"]],
        "$defs": {name: spelling.schema for name, spelling in _DEFINITIONS.items() if name in used},
    }


def _mapping(model: type[BaseModel]) -> Schema:
    hints = get_type_hints(model, include_extras=True)
    shown = {name: field for name, field in model.model_fields.items() if name not in _NOT_FOR_OPERATORS}
    return {
        "description": _first_paragraph(model),
        "type": "object",
        "properties": {name: _property(hints[name], field) for name, field in shown.items()},
        "required": [name for name, field in shown.items() if field.is_required()],
        "additionalProperties": False,
        **_MORE.get(model, {}),
    }


def _property(hint: Any, field: FieldInfo) -> Schema:
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return _mapping(hint)
    assert field.description is not None, f"a field of a state file has no description: {hint}"
    if hint in _SECTIONS:
        return _mapping(_SECTIONS[hint]) | {"description": field.description}
    if hint in _ENTRIES:
        entry, more = _ENTRIES[hint]
        return {"description": field.description, "type": "array", "items": _mapping(entry), **more}
    written = _WRITTEN[hint]
    told: Schema = {"description": " ".join([field.description, *_how(written)])}
    if field.default is not None and field.default != () and not field.is_required():
        default = _as_written(field.default)
        told["description"] += f" Default: {json.dumps(default).strip(chr(34))}."
        told["default"] = default
    if field.examples:
        told["examples"] = field.examples
    return told | written


def _how(written: Schema) -> Iterator[str]:
    """How a value is written, in words."""
    match written:
        case {"$ref": str() as reference} | {"additionalProperties": {"$ref": str() as reference}}:
            yield _DEFINITIONS[reference.rpartition("/")[2]].how
        case {"anyOf": [one, _]}:
            yield from _how(one)
            yield "One, or a list of them."
        case _:
            pass  # a number, a truth value or one of a few words


def _as_written(default: Any) -> object:
    """A default as a state file would say it."""
    match default:
        case bool() | int():
            return default
        case Enum():
            return default.value
        case float():
            return spell_duration(default)
        case (address,):
            return str(address)
        case _:
            raise TypeError(f"no state file can say {default!r}")


def _first_paragraph(model: type[BaseModel]) -> str:
    return " ".join(inspect.cleandoc(model.__doc__ or "").partition("\n\n")[0].split())


def _references(schema: object) -> Iterator[str]:
    """The names of the definitions that a schema refers to."""
    match schema:
        case {"$ref": str() as reference}:
            yield reference.rpartition("/")[2]
        case dict():
            for value in schema.values():
                yield from _references(value)
        case list():
            for value in schema:
                yield from _references(value)
        case _:
            pass
