"""The fields of the state models: what each accepts from a file, and what it says when it cannot.

Rule: a field that a file writes as text is read by exactly one function here.
When a model is built by code rather than from a file (no ``Reading`` in the
validation context), values that are already parsed are taken as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn, TypeAlias, TypeVar, cast

from pydantic import PlainValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from .log_level import LogLevel
from .messages import MAX_SESSIONS
from .names import (
    ClientId,
    HostPort,
    ListenAddress,
    ProxyProtocol,
    ServiceName,
    Target,
    TunnelName,
    UnixTarget,
    check_client_id,
    check_domain,
    check_name,
    parse_host_port,
    parse_hostname,
    parse_listen,
    parse_target,
)
from .quantities import parse_duration
from .quoting import describe, quote
from .references import Reference, parse_reference, resolve_path

T = TypeVar("T")

#: The type of the pydantic errors that carry ``Fault`` values in ``ctx["faults"]``.
FAULTS = "faults"


@dataclass(frozen=True, slots=True)
class Reading:
    """The validation context while a file is read: where its relative paths start."""

    directory: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong inside one field; ``path`` leads from the field to it, with ``key`` to its key."""

    message: str
    path: tuple[str | int, ...] = ()
    key: bool = False


def fail(faults: Iterable[Fault]) -> NoReturn:
    """Report every fault of a field at once, in the one way pydantic can carry."""
    listed = tuple(faults)
    # pydantic fills {text} in; passing it as a value keeps braces in the text harmless.
    raise PydanticCustomError(
        FAULTS, "{text}", {"text": "; ".join(f.message for f in listed), "faults": listed}
    )


def parse_services(value: object, *, directory: str) -> tuple[tuple[ServiceName, Target], ...]:
    """The services of a client, sorted by name, so that their order in the file means nothing.

    :raises PydanticCustomError: with every fault.
    """
    if not isinstance(value, Mapping):
        fail(
            [Fault(_misplaced(value, "a mapping of service names to addresses", '{"web": "127.0.0.1:8443"}'))]
        )
    services: list[tuple[ServiceName, Target]] = []
    faults: list[Fault] = []
    for name, target in value.items():
        try:
            check_name(name)
        except ValueError as error:
            faults.append(Fault(str(error), (name,), key=True))
            continue
        try:
            if not isinstance(target, str):
                raise ValueError(_misplaced(target, "an address", '"127.0.0.1:8443"'))
            services.append((ServiceName(name), _resolved(parse_target(target), directory)))
        except ValueError as error:
            faults.append(Fault(f"the service {quote(name)}: {error}", (name,)))
    if faults:
        fail(faults)
    return tuple(sorted(services, key=lambda service: service[0]))


def _resolved(target: Target, directory: str) -> Target:
    # A leading "@" is Linux's abstract namespace: a name, not a path.
    if isinstance(target, UnixTarget) and not target.path.startswith("@"):
        return UnixTarget(resolve_path(target.path, directory=directory))
    return target


def _misplaced(value: object, wanted: str, example: str) -> str:
    return f"{describe(value)} stands where {wanted} belongs; write, for example, {example}"


def _one(parse: Callable[[str], T], wanted: str, example: str) -> Callable[[Any, ValidationInfo], T]:
    """A validator for a field that is one text."""

    def validate(value: Any, info: ValidationInfo) -> T:
        if isinstance(value, str):
            try:
                return parse(value)
            except ValueError as error:
                fail([Fault(str(error))])
        if info.context is None:
            return cast("T", value)
        fail([Fault(_misplaced(value, wanted, example))])

    return validate


def _several(
    parse: Callable[[str], tuple[T, ...]],
    wanted: str,
    example: str,
    *,
    empty: str | None,
) -> Callable[[Any, ValidationInfo], tuple[T, ...]]:
    """A validator for a field that is one text or a list of them.

    ``empty`` is what to do about an empty list, None if it is legal. The same
    value twice is always a fault.
    """

    def validate(value: Any, info: ValidationInfo) -> tuple[T, ...]:
        if info.context is None and isinstance(value, tuple):
            return value
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list):
            fail([Fault(_misplaced(value, wanted, example))])
        if not value and empty is not None:
            fail([Fault(f"the list is empty; {empty}")])
        first: dict[T, str] = {}
        faults: list[Fault] = []
        for index, text in enumerate(value):
            if not isinstance(text, str):
                faults.append(Fault(_misplaced(text, wanted, example), (index,)))
                continue
            try:
                parsed = parse(text)
            except ValueError as error:
                faults.append(Fault(str(error), (index,)))
                continue
            again = next((first[item] for item in parsed if item in first), None)
            if again is not None:
                covers = "stands here twice" if again == text else f"is already covered by {quote(again)}"
                faults.append(Fault(f"{quote(text)} {covers}; remove it", (index,)))
            first.update(dict.fromkeys(parsed, text))
        if faults:
            fail(faults)
        return tuple(first)

    return validate


def _alone(parse: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    return lambda text: (parse(text),)


def _positive(text: str) -> float:
    seconds = parse_duration(text)
    if seconds <= 0:
        raise ValueError(f"{quote(text)} is no time at all; write a duration longer than zero")
    return seconds


def _proxy_protocol(text: str) -> ProxyProtocol:
    try:
        return ProxyProtocol(text)
    except ValueError:
        raise ValueError(
            f'{quote(text)} is not a version of the PROXY protocol; write "off", "v1" or "v2"'
        ) from None


def _log_level(text: str) -> LogLevel:
    try:
        return LogLevel(text)
    except ValueError:
        raise ValueError(
            f'{quote(text)} is not a log level; write "debug", "info", "warning" or "error"'
        ) from None


def _level_or_none(value: Any, info: ValidationInfo) -> LogLevel | None:
    return None if value is None and info.context is None else _plain_level(value, info)


def _declarer(text: str) -> str:
    if not text or not text.isprintable() or len(text) > 256:
        raise ValueError("this names nobody; write 1 to 256 printable characters")
    return text


def _path(value: Any, info: ValidationInfo) -> str | None:
    if not isinstance(info.context, Reading):
        return cast("str | None", value)
    if not isinstance(value, str):
        fail([Fault(_misplaced(value, "a path", '"run/gateway.sock"'))])
    try:
        return resolve_path(value, directory=info.context.directory)
    except ValueError as error:
        fail([Fault(str(error))])


def _reference(value: Any, info: ValidationInfo) -> Reference:
    directory = info.context.directory if isinstance(info.context, Reading) else ""
    try:
        return parse_reference(value, directory=directory)
    except ValueError as error:
        fail([Fault(str(error))])


def _services(value: Any, info: ValidationInfo) -> tuple[tuple[ServiceName, Target], ...]:
    if isinstance(info.context, Reading):
        return parse_services(value, directory=info.context.directory)
    return cast("tuple[tuple[ServiceName, Target], ...]", value)


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    fail([Fault(_misplaced(value, "true or false", "true"))])


def _sessions(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_SESSIONS:
        return value
    fail([Fault(_misplaced(value, f"a whole number from 1 to {MAX_SESSIONS}", "3"))])


def _name_or_none(value: Any, info: ValidationInfo) -> str | None:
    return None if value is None and info.context is None else _plain_name(value, info)


def _domain(value: Any, info: ValidationInfo) -> str | None:
    return None if value is None and info.context is None else _plain_domain(value, info)


def _declared_by(value: Any, info: ValidationInfo) -> str | None:
    return None if value is None and info.context is None else _plain_declarer(value, info)


_plain_name = _one(check_name, "a name", '"gw1"')
_plain_domain = _one(check_domain, "a domain", '"example.com"')
_plain_declarer = _one(_declarer, "the name of whoever declared the tunnel", '"homelab"')

_plain_level = _one(_log_level, "a log level", '"info"')

NameField: TypeAlias = Annotated[str | None, PlainValidator(_name_or_none)]
DomainField: TypeAlias = Annotated[str | None, PlainValidator(_domain)]
DeclaredByField: TypeAlias = Annotated[str | None, PlainValidator(_declared_by)]
PathField: TypeAlias = Annotated[str | None, PlainValidator(_path)]
LogLevelField: TypeAlias = Annotated[LogLevel | None, PlainValidator(_level_or_none)]
FlagField: TypeAlias = Annotated[bool, PlainValidator(_flag)]
SessionsField: TypeAlias = Annotated[int, PlainValidator(_sessions)]
ReferenceField: TypeAlias = Annotated[Reference, PlainValidator(_reference)]
DurationField: TypeAlias = Annotated[float, PlainValidator(_one(_positive, "a duration", '"30s"'))]
DrainField: TypeAlias = Annotated[float, PlainValidator(_one(parse_duration, "a duration", '"30s"'))]
ClientIdField: TypeAlias = Annotated[
    ClientId, PlainValidator(_one(check_client_id, "a client id", '"homelab"'))
]
TunnelNameField: TypeAlias = Annotated[
    TunnelName,
    PlainValidator(_one(lambda text: TunnelName(check_name(text)), "a name", '"blog"')),
]
ServiceNameField: TypeAlias = Annotated[
    ServiceName,
    PlainValidator(_one(lambda text: ServiceName(check_name(text)), "the name of a service", '"web"')),
]
ProxyProtocolField: TypeAlias = Annotated[
    ProxyProtocol,
    PlainValidator(_one(_proxy_protocol, "a version of the PROXY protocol", '"v1"')),
]
ListenField: TypeAlias = Annotated[
    tuple[ListenAddress, ...],
    PlainValidator(
        _several(
            parse_listen, "an address with its port", '"0.0.0.0:443"', empty="write at least one address"
        )
    ),
]
ManagementField: TypeAlias = Annotated[
    tuple[ListenAddress, ...],
    PlainValidator(
        _several(
            parse_listen,
            "an address with its port",
            '"127.0.0.1:9057"',
            empty="write an address, or leave the key out for the unix socket alone",
        )
    ),
]
HostnameField: TypeAlias = Annotated[
    tuple[str, ...],
    PlainValidator(
        _several(
            _alone(parse_hostname),
            "a hostname",
            '"blog.example.com"',
            empty="write a name, or leave hostname out for the port's default route",
        )
    ),
]
ClientsField: TypeAlias = Annotated[
    tuple[ClientId, ...],
    PlainValidator(
        _several(_alone(check_client_id), "a client id", '"homelab"', empty="write the id of a client")
    ),
]
AdminsField: TypeAlias = Annotated[
    tuple[ClientId, ...],
    PlainValidator(_several(_alone(check_client_id), "a client id", '"ops"', empty=None)),
]
GatewaysField: TypeAlias = Annotated[
    tuple[HostPort, ...],
    PlainValidator(
        _several(
            _alone(parse_host_port),
            "the address of a gateway",
            '"gw1.example.com:9056"',
            empty="write the address of at least one gateway",
        )
    ),
]
ServicesField: TypeAlias = Annotated[
    tuple[tuple[ServiceName, Target], ...],
    PlainValidator(_services),
]
