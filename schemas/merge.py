"""What several documents declare together.

Rule: what the first mistake hides is as little as possible. An entry that cannot be
read is left out, and the rules are still held against the rest; each problem is
placed in the document it comes from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from .errors import Place, Problem
from .fields import parse_services
from .messages import MAX_SERVICES
from .names import ServiceEntry, ServiceName, parse_listen
from .positions import Path
from .quoting import describe, quote
from .roles import Role, top_level_problems
from .rules import check_client_rules, check_gateway_rules
from .state import (
    ClientEntry,
    ClientSettings,
    ClientState,
    Egress,
    GatewaySettings,
    GatewayState,
    OwnTunnel,
    Revocation,
    Socks5,
    Tunnel,
)
from .text import Document
from .validating import Fault, Reading
from .wording import misplaced, problems_in

VERSION: Final = 1

_NOUNS: Final = {"revoked": "revoked certificates"}

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(slots=True, eq=False)
class Merge:
    """What the documents read so far declare, with where each part of it stands. Problems are appended."""

    problems: list[Problem]
    gateway: GatewaySettings | None = None
    client: ClientSettings | None = None
    clients: list[ClientEntry] | None = None
    tunnels: list[Tunnel] = field(default_factory=list)
    revoked: list[Revocation] = field(default_factory=list)
    egress: Egress | None = None
    services: dict[ServiceName, ServiceEntry] = field(default_factory=dict)
    socks5: Socks5 | None = None
    own_tunnels: list[OwnTunnel] = field(default_factory=list)
    allow_empty: bool = False
    _origins: dict[Path, tuple[Document, Path]] = field(default_factory=dict)
    _clients_are_complete: bool = True
    _services_are_complete: bool = True

    def add(self, document: Document, role: Role) -> None:
        """Take in one document of an agent of that role."""
        if not self._version_is_known(document):
            self._clients_are_complete = False
            return  # a file of another version has other keys, and complaints about them would mislead
        self.problems.extend(top_level_problems(document, role))
        value = document.value
        if "allow_empty" in value:
            self._add_allow_empty(document, value["allow_empty"], section=role.value)
        match role:
            case Role.GATEWAY:
                if "gateway" in value:
                    self._origins["gateway",] = (document, ("gateway",))
                    self.gateway = self._section(GatewaySettings, document, ("gateway",))
                if "clients" in value:
                    self._add_clients(document, value["clients"])
                if "tunnels" in value:
                    self._add_tunnels(document, value["tunnels"])
                if "revoked" in value:
                    self.revoked += self._listed(
                        Revocation, document, "revoked", value["revoked"], len(self.revoked)
                    )
                if "egress" in value and self._stands_once(document, "egress"):
                    self.egress = self._section(Egress, document, ("egress",))
            case Role.CLIENT:
                if "client" in value:
                    self.client = self._section(ClientSettings, document, ("client",))
                if "services" in value:
                    self._add_services(document, value["services"])
                if "socks5" in value and self._stands_once(document, "socks5"):
                    self.socks5 = self._section(Socks5, document, ("socks5",))
                if "tunnels" in value:
                    self.own_tunnels += self._listed(
                        OwnTunnel, document, "tunnels", value["tunnels"], len(self.own_tunnels)
                    )

    def gateway_state(self) -> GatewayState | None:
        """The whole, None without its main section; held against the rules either way."""
        clients = self.clients if self._clients_are_complete else None
        self.problems.extend(
            check_gateway_rules(self.gateway, clients, self.tunnels, self._where, self.egress)
        )
        if self.gateway is None:
            return None
        return GatewayState(
            gateway=self.gateway,
            clients=None if self.clients is None else tuple(self.clients),
            tunnels=tuple(self.tunnels),
            revoked=tuple(self.revoked),
            egress=self.egress,
            allow_empty=self.allow_empty,
        )

    def client_state(self) -> ClientState | None:
        """The whole, None without its main section."""
        services = self.services if self._services_are_complete else None
        self.problems.extend(check_client_rules(services, self.own_tunnels, self._where))
        if self.client is None:
            return None
        return ClientState(
            client=self.client,
            services=tuple(sorted(self.services.items())),
            socks5=self.socks5,
            tunnels=tuple(self.own_tunnels),
            allow_empty=self.allow_empty,
        )

    def _version_is_known(self, document: Document) -> bool:
        version = document.value.get("tidegate")
        if type(version) is int and version == VERSION:
            return True
        if "tidegate" not in document.value:
            message = f'the key "tidegate" is missing; add it with the version of the file, {VERSION}'
            self.problems.append(Problem(document.locate(()), message))
            return True
        if type(version) is int:
            message = (
                f"{describe(version)} is not a version that this Tidegate reads; write {VERSION}, or upgrade"
            )
        else:
            message = misplaced(version, "the version of the file", f"write the number {VERSION}")
        self.problems.append(Problem(document.locate(("tidegate",)), message))
        return False

    def _add_allow_empty(self, document: Document, value: object, *, section: str) -> None:
        if section not in document.value:
            message = f"allow_empty belongs in the file with the section {section}; move it there"
            self.problems.append(Problem(document.locate(("allow_empty",), key=True), message))
        elif isinstance(value, bool):
            self.allow_empty = value
        else:
            message = "allow_empty: " + misplaced(value, "true or false", "write one of these")
            self.problems.append(Problem(document.locate(("allow_empty",)), message))

    def _add_clients(self, document: Document, value: object) -> None:
        if value is None:
            # Nobody, or everybody? A slip of the keyboard must not decide.
            message = (
                "clients has no value; write the clients below it, write [] to admit none, "
                "or remove the key to admit every certificate that client_ca signed"
            )
            self.problems.append(Problem(document.locate(("clients",)), message))
            self._clients_are_complete = False
            return
        entries = self._entries(ClientEntry, document, "clients", value, len(self.clients or ()))
        self.clients = [*(self.clients or ()), *(entry for entry in entries if entry is not None)]
        self._clients_are_complete &= isinstance(value, list) and None not in entries

    def _add_tunnels(self, document: Document, value: object) -> None:
        if not document.owned and isinstance(value, list):
            for index, entry in enumerate(value):
                if isinstance(entry, dict) and "declared_by" in entry:
                    message = (
                        "declared_by is written by Tidegate for tunnels declared through its API; remove it"
                    )
                    where = document.locate(("tunnels", index, "declared_by"), key=True)
                    self.problems.append(Problem(where, message))
        self.tunnels += self._listed(Tunnel, document, "tunnels", value, len(self.tunnels))

    def _add_services(self, document: Document, value: object) -> None:
        try:
            services = parse_services(value, directory=document.directory)
        except PydanticCustomError as error:
            self._services_are_complete = False
            faults: tuple[Fault, ...] = (error.context or {})["faults"]
            for fault in faults:
                where = document.locate(("services", *fault.path), key=fault.key)
                self.problems.append(Problem(where, fault.message))
            return
        for name, entry in services:
            here = ("services", name)
            before = self._origins.setdefault(here, (document, here))[0]
            if before is not document:
                message = f"the service {quote(name)} is declared already; remove one of the two"
                there = before.locate(here, key=True)
                self.problems.append(Problem(document.locate(here, key=True), message, see=there))
            self.services[name] = entry
        if len(self.services) > MAX_SERVICES:
            message = (
                f"the client has {len(self.services):,} services and may have {MAX_SERVICES:,}; "
                "let a second client offer the others"
            )
            self.problems.append(Problem(document.locate(("services",), key=True), message))

    def _stands_once(self, document: Document, section: str) -> bool:
        """Whether no other document has this section; only one may."""
        before = self._origins.setdefault((section,), (document, (section,)))[0]
        if before is document:
            return True
        message = f"the section {section} stands in another file already; keep one"
        here = document.locate((section,), key=True)
        self.problems.append(Problem(here, message, see=before.locate((section,), key=True)))
        return False

    def _listed(
        self, model: type[_Model], document: Document, section: str, value: object, offset: int
    ) -> list[_Model]:
        """The entries of a list that can be read."""
        entries = self._entries(model, document, section, value, offset)
        return [entry for entry in entries if entry is not None]

    def _entries(
        self, model: type[_Model], document: Document, section: str, value: object, offset: int
    ) -> list[_Model | None]:
        """The entries of a list, None where one cannot be read; the first good one is number ``offset``."""
        if not isinstance(value, list):
            noun = _NOUNS.get(section, section)
            message = f"{section}: " + misplaced(
                value, "a list", f"write the {noun} as a list, or [] for none"
            )
            self.problems.append(Problem(document.locate((section,)), message))
            return []
        entries: list[_Model | None] = []
        for index in range(len(value)):
            entry = self._section(model, document, (section, index))
            if entry is not None:
                self._origins[section, offset] = (document, (section, index))
                offset += 1
            entries.append(entry)
        return entries

    def _section(self, model: type[_Model], document: Document, path: Path) -> _Model | None:
        value = _value_at(document.value, path)
        try:
            return model.model_validate(value, context=Reading(directory=document.directory))
        except ValidationError as error:
            self.problems.extend(problems_in(error, model, value, document=document, path=path))
            return self._without_unknown_keys(model, document, value, error)

    def _without_unknown_keys(
        self, model: type[_Model], document: Document, value: object, error: ValidationError
    ) -> _Model | None:
        """What is left if the only mistakes are keys that do not exist: the rules can still look at it."""
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        if not isinstance(value, dict) or any(fault["type"] != "extra_forbidden" for fault in faults):
            return None
        unknown = {fault["loc"][0] for fault in faults if len(fault["loc"]) == 1}
        known = {key: part for key, part in value.items() if key not in unknown}
        try:
            return model.model_validate(known, context=Reading(directory=document.directory))
        except ValidationError:
            return None  # one of them stands deeper

    def _where(self, path: Path) -> Place:
        """The place of a path in the merged state."""
        for length in (2, 1):
            if path[:length] in self._origins:
                document, start = self._origins[path[:length]]
                return document.locate(_as_written(document, (*start, *path[length:])))
        raise KeyError(path)


def _as_written(document: Document, path: Path) -> Path:
    """The path with its index among addresses turned into that among texts: ":443" is two addresses."""
    *outer, name, index = path
    if name not in ("listen", "control", "management") or not isinstance(index, int):
        return path
    texts = _value_at(document.value, (*outer, name))
    if not isinstance(texts, list):
        return (*outer, name)
    for at, text in enumerate(texts):
        index -= len(parse_listen(text))
        if index < 0:
            return (*outer, name, at)
    return (*outer, name)


def _value_at(value: object, path: Path) -> object:
    for step in path:
        match value, step:
            case dict() as entries, str():
                value = entries.get(step)
            case list() as items, int() if step < len(items):
                value = items[step]
            case _:
                return None
    return value
