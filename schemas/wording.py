"""What pydantic found wrong with a section, in our own words and with its places.

Rule: pydantic finds, this file speaks. One sentence a problem, which says what to
write. A value under ``tls`` is never shown, whatever it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from .errors import Problem
from .positions import Path
from .quoting import describe, kind, quote
from .state import (
    ClientEntry,
    ClientSettings,
    Egress,
    EgressRule,
    GatewaySettings,
    OwnTunnel,
    Revocation,
    Socks5,
    TlsClient,
    TlsGateway,
    Tunnel,
)
from .suggest import LONGEST_GUESS, suggest
from .text import Document
from .validating import FAULTS, Fault

_NOUNS: Final[dict[type[BaseModel], str]] = {
    GatewaySettings: "the section gateway",
    ClientSettings: "the section client",
    TlsGateway: "the section tls",
    TlsClient: "the section tls",
    Tunnel: "this tunnel",
    ClientEntry: "this client",
    Revocation: "this revoked certificate",
    Egress: "the section egress",
    EgressRule: "this rule",
    Socks5: "the section socks5",
    OwnTunnel: "this tunnel",
}
# The models inside models, by their keys.
_INNER: Final[Mapping[tuple[type[BaseModel], str], type[BaseModel]]] = {
    (GatewaySettings, "tls"): TlsGateway,
    (ClientSettings, "tls"): TlsClient,
    (Egress, "allow"): EgressRule,
}


def problems_in(
    error: ValidationError, model: type[BaseModel], value: object, *, document: Document, path: Path
) -> Iterator[Problem]:
    """Every problem in one section or entry of a document: ``value``, which stands at ``path``."""
    errors = error.errors(include_url=False, include_input=False)
    misspelled = {
        (*found["loc"][:-1], suggest(str(found["loc"][-1]), tuple(_owner(model, found["loc"]).model_fields)))
        for found in errors
        if found["type"] == "extra_forbidden"
    }
    for found in errors:
        if found["type"] == "missing" and found["loc"] in misspelled:
            continue  # it is there under another name, and that is reported
        yield from _problems(found, model, value, document, path)


def unknown_key(key: str, known: Iterable[str], *, of: str) -> str:
    """What to say about a key that does not exist among the keys ``of`` something."""
    options = tuple(known)
    if len(key) > LONGEST_GUESS:
        # Not a misspelled key: a value that lost its key, perhaps a secret one.
        return f"unknown key of {len(key)} characters; the {_keys_of(of, options)}"
    name, colon, _ = key.partition(":")
    if colon and name in options:
        return f"unknown key {quote(key)}; write a space after the colon"
    guess = suggest(key, options)
    if guess is not None:
        return f"unknown key {quote(key)}; did you mean {quote(guess)}?"
    return f"unknown key {quote(key)}; the {_keys_of(of, options)}"


def _keys_of(noun: str, options: tuple[str, ...]) -> str:
    if len(options) == 1:
        return f"only key of {noun} is {options[0]}"
    return f"keys of {noun} are {', '.join(options)}"


def misplaced(value: object, wanted: str, advice: str) -> str:
    """What to say about a value of the wrong kind. It quotes the value."""
    return f"{describe(value)} stands where {wanted} belongs; {advice}"


def _problems(
    found: Mapping[str, Any], model: type[BaseModel], value: object, document: Document, path: Path
) -> Iterator[Problem]:
    location: Path = tuple(found["loc"])
    at = (*path, *location)
    owner = _owner(model, location)
    match found["type"]:
        case "missing":
            yield Problem(document.locate(at[:-1]), _missing(str(location[-1]), owner, value))
        case "extra_forbidden" if owner is OwnTunnel and location[-1] == "client":
            message = "a tunnel of a client's own leads to that client; remove this key"
            yield Problem(document.locate(at, key=True), message)
        case "extra_forbidden":
            known = [name for name in owner.model_fields if name != "declared_by" or document.owned]
            yield Problem(
                document.locate(at, key=True), unknown_key(str(location[-1]), known, of=_NOUNS[owner])
            )
        case "model_type" if location == ("tls",):
            example = _example("tls", model)
            stands = kind(value.get("tls") if isinstance(value, dict) else None)
            yield Problem(
                document.locate(at),
                f"tls: {stands} stands where a mapping belongs; write, for example, {example}",
            )
        case "model_type":
            inner = _owner(model, (*location, ""))
            fields = inner.model_fields
            needed = ", ".join([name for name in fields if fields[name].is_required()] or fields)
            noun = _NOUNS[inner].replace("this", "a")
            message = misplaced(_value_in(value, location), noun, f"write a mapping with {needed}")
            yield Problem(document.locate(at), message)
        case "tuple_type":
            stands = misplaced(_value_in(value, location), "a list", "write one, or [] for none")
            yield Problem(document.locate(at), f"{location[-1]}: {stands}")
        case kind_of_error if kind_of_error == FAULTS:
            prefix = ".".join(step for step in location if isinstance(step, str))
            faults: tuple[Fault, ...] = found["ctx"]["faults"]
            for fault in faults:
                place = document.locate((*at, *fault.path), key=fault.key)
                yield Problem(place, f"{prefix}: {fault.message}" if prefix else fault.message)
        case _:
            yield Problem(
                document.locate(at), "this value cannot be used here; see the state file's reference"
            )


def _value_in(value: object, location: Path) -> object:
    for step in location:
        match value, step:
            case dict() as entries, str():
                value = entries.get(step)
            case list() as items, int():
                value = items[step]
    return value


def _owner(model: type[BaseModel], location: Path) -> type[BaseModel]:
    """The model whose key ends the location."""
    for step in location[:-1]:
        model = _INNER.get((model, str(step)), model)
    return model


def _missing(name: str, model: type[BaseModel], value: object) -> str:
    noun = _NOUNS[model]
    if model is Tunnel and isinstance(value, dict) and isinstance(value.get("name"), str):
        noun = f"the tunnel {quote(value['name'])}"
    return f'{noun} has no "{name}"; add it, for example {_example(name, model)}'


def _example(name: str, model: type[BaseModel]) -> str:
    return json.dumps((model.model_fields[name].examples or [""])[0])
