"""The fields of the state models: what each accepts from a file, and what it says when it cannot.

Rule: a field that a file writes as text is read by exactly one function here.
When a model is built by code rather than from a file (no ``Reading`` in the
validation context), values that are already parsed are taken as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Annotated, Any, Final, TypeAlias, cast

from pydantic import PlainValidator, ValidationInfo

from .egress import Destination, parse_destination
from .gateway_address import GatewayAddress, parse_gateway_address
from .log_level import LogLevel
from .messages import MAX_SESSIONS
from .names import (
    Balance,
    ClientId,
    Declares,
    ListenAddress,
    ProxyProtocol,
    ServiceEntry,
    ServiceName,
    Target,
    TunnelName,
    UnixTarget,
    check_client_id,
    check_domain,
    check_name,
    parse_hostname,
    parse_listen,
    parse_target,
)
from .networks import Network, parse_network
from .ports import ListenPattern, PortRange, parse_listen_pattern, parse_port_range
from .proxy_url import NoProxy, ProxyChoice, parse_proxy_url
from .quantities import parse_duration
from .quoting import quote
from .references import EnvRef, FileRef, Reference, parse_reference, resolve_path
from .revocation import parse_fingerprint, parse_serial
from .validating import Fault, Reading, alone, faulty, misplaced, one, one_of, or_none, several


def parse_services(value: object, *, directory: str) -> tuple[tuple[ServiceName, ServiceEntry], ...]:
    """The services of a client, sorted by name, so that their order in the file means nothing.

    :raises PydanticCustomError: with every fault.
    """
    if not isinstance(value, Mapping):
        raise faulty(
            [Fault(misplaced(value, "a mapping of service names to addresses", '{"web": "127.0.0.1:8443"}'))]
        )
    services: list[tuple[ServiceName, ServiceEntry]] = []
    faults: list[Fault] = []
    for name, entry in value.items():
        try:
            check_name(name)
        except ValueError as error:
            faults.append(Fault(str(error), (name,), key=True))
            continue
        try:
            services.append((ServiceName(name), _service(entry, directory)))
        except ValueError as error:
            faults.append(Fault(f"the service {quote(name)}: {error}", (name,)))
    if faults:
        raise faulty(faults)
    return tuple(sorted(services, key=lambda service: service[0]))


def _service(entry: object, directory: str) -> ServiceEntry:
    """A service as a file writes it: its address, or a mapping with the address and how it is checked."""
    match entry:
        case str():
            return ServiceEntry(_resolved(parse_target(entry), directory))
        case {"address": str() as address, **rest} if rest.keys() <= {"health_check"}:
            target = _resolved(parse_target(address), directory)
            if not rest:
                return ServiceEntry(target)
            check = rest["health_check"]
            if not isinstance(check, str):
                raise ValueError(misplaced(check, "a duration for health_check", '"5s"'))
            return ServiceEntry(target, health_check=_positive(check))
        case Mapping():
            raise ValueError(
                "a mapping has the keys address and, if you like, health_check; "
                'write, for example, {"address": "127.0.0.1:8443", "health_check": "5s"}'
            )
        case _:
            raise ValueError(misplaced(entry, "an address", '"127.0.0.1:8443"'))


def _resolved(target: Target, directory: str) -> Target:
    # A leading "@" is Linux's abstract namespace: a name, not a path.
    if isinstance(target, UnixTarget) and not target.path.startswith("@"):
        return UnixTarget(resolve_path(target.path, directory=directory))
    return target


def _positive(text: str) -> float:
    seconds = parse_duration(text)
    if seconds <= 0:
        raise ValueError(f"{quote(text)} is no time at all; write a duration longer than zero")
    return seconds


def _declarer(text: str) -> str:
    if not text or not text.isprintable() or len(text) > 256:
        raise ValueError("this names nobody; write 1 to 256 printable characters")
    return text


def _path(value: Any, info: ValidationInfo) -> str | None:
    if not isinstance(info.context, Reading):
        return cast("str | None", value)
    if not isinstance(value, str):
        raise faulty([Fault(misplaced(value, "a path", '"run/gateway.sock"'))])
    try:
        return resolve_path(value, directory=info.context.directory)
    except ValueError as error:
        raise faulty([Fault(str(error))]) from None


def _reference(value: Any, info: ValidationInfo) -> Reference:
    directory = info.context.directory if isinstance(info.context, Reading) else ""
    try:
        return parse_reference(value, directory=directory)
    except ValueError as error:
        raise faulty([Fault(str(error))]) from None


def _service_glob(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._*-]{1,128}", text):
        raise ValueError(
            f"{quote(text)} is no service and no pattern of one; write letters, digits, '.', '_', '-' and '*'"
        )
    return text


def _socks5_user(text: str) -> str:
    if not text.isprintable() or not 1 <= len(text.encode()) <= 255:
        raise ValueError("the user has 1 to 255 bytes that can be printed (RFC 1929); write another")
    return text


def _local_address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError(
            f'{quote(text)} is not an IP address; write one of this machine, for example "203.0.113.5"'
        ) from None


def _bind(value: Any, info: ValidationInfo) -> tuple[str, ...]:
    addresses = _plain_bind(value, info)
    families = [":" in address for address in addresses]
    if len(set(families)) != len(families):
        raise faulty([Fault("two addresses are of one family; keep one IPv4 and one IPv6 address at most")])
    return addresses


def _ports(value: Any, info: ValidationInfo) -> tuple[PortRange, ...]:
    """As YAML has them: numbers beside texts."""
    if info.context is not None:
        listed = value if isinstance(value, list) else [value]
        value = [
            str(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in listed
        ]
    return _plain_ports(value, info)


def _whole_number(least: int, most: int, example: str) -> Callable[[Any], int]:
    def validate(value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        raise faulty([Fault(misplaced(value, f"a whole number from {least} to {most}", example))])

    return validate


def _serial(value: Any) -> int | None:
    try:
        return None if value is None else parse_serial(value)
    except ValueError as error:
        raise faulty([Fault(str(error))]) from None


def _proxy(value: Any, info: ValidationInfo) -> ProxyChoice:
    if not isinstance(info.context, Reading):
        return cast("ProxyChoice", value)
    advice = 'this is no proxy; write its URL, {file: "proxy.url"}, {env: "NAME"} or "none"'
    if value == NoProxy.NONE.value:
        return NoProxy.NONE
    try:
        if isinstance(value, str):
            return parse_proxy_url(value)
        return _secret(value, info.context.directory, advice)
    except ValueError as error:
        raise faulty([Fault(str(error))]) from None


def _password(value: Any, info: ValidationInfo) -> FileRef | EnvRef | None:
    if not isinstance(info.context, Reading):
        return cast("FileRef | EnvRef | None", value)
    try:
        advice = (
            'it does not stand in the state file itself; write {file: "socks5.password"} or {env: "NAME"}'
        )
        return _secret(value, info.context.directory, advice)
    except ValueError as error:
        raise faulty([Fault(str(error))]) from None


def _secret(value: object, directory: str, advice: str) -> FileRef | EnvRef:
    """A secret that stands elsewhere. A text is not shown: it may be the secret."""
    found = parse_reference(value, directory=directory) if isinstance(value, Mapping) else None
    if isinstance(found, FileRef | EnvRef):
        return found
    raise ValueError(advice)


def _socks5_listen(value: Any, info: ValidationInfo) -> ListenAddress | UnixTarget:
    if not isinstance(info.context, Reading):
        return cast("ListenAddress | UnixTarget", value)
    example = '"127.0.0.1:1080"'
    if not isinstance(value, str):
        raise faulty([Fault(misplaced(value, "an address with its port", example))])
    try:
        if value.startswith("unix:"):
            target = _resolved(parse_target(value), info.context.directory)
            assert isinstance(target, UnixTarget)
            if target.path.startswith("@"):
                raise ValueError("an abstract socket has no mode that keeps others out; write a path")
            return target
        if value.isascii() and value.isdecimal():
            raise ValueError(f'{quote(value)} is a port alone; write "127.0.0.1:{value}"')
        address, *more = parse_listen(value.removeprefix("*") if value.startswith("*:") else value)
    except ValueError as error:
        raise faulty([Fault(str(error))]) from None
    example = f'"127.0.0.1:{address.port}"'
    if more:
        raise faulty(
            [Fault(f"{quote(value)} is every address of this machine; write one, for example {example}")]
        )
    return address


def _services(value: Any, info: ValidationInfo) -> tuple[tuple[ServiceName, ServiceEntry], ...]:
    if isinstance(info.context, Reading):
        return parse_services(value, directory=info.context.directory)
    return cast("tuple[tuple[ServiceName, ServiceEntry], ...]", value)


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise faulty([Fault(misplaced(value, "true or false", "true"))])


_MOST_PORTS: Final = 65535

_plain_bind = several(alone(_local_address), "an IP address of this machine", '"203.0.113.5"', empty=None)
_plain_ports = several(alone(parse_port_range), "a port", "25", empty='write a port, or "*" for all')
_plain_name = one(check_name, "a name", '"gw1"')
_plain_domain = one(check_domain, "a domain", '"example.com"')
_plain_declarer = one(_declarer, "the name of whoever declared the tunnel", '"homelab"')

_plain_level = one(one_of(LogLevel, "a log level"), "a log level", '"info"')

NameField: TypeAlias = Annotated[str | None, PlainValidator(or_none(_plain_name))]
DomainField: TypeAlias = Annotated[str | None, PlainValidator(or_none(_plain_domain))]
DeclaredByField: TypeAlias = Annotated[str | None, PlainValidator(or_none(_plain_declarer))]
PathField: TypeAlias = Annotated[str | None, PlainValidator(_path)]
LogLevelField: TypeAlias = Annotated[LogLevel | None, PlainValidator(or_none(_plain_level))]
FlagField: TypeAlias = Annotated[bool, PlainValidator(_flag)]
SessionsField: TypeAlias = Annotated[int, PlainValidator(_whole_number(1, MAX_SESSIONS, "3"))]
ReferenceField: TypeAlias = Annotated[Reference, PlainValidator(_reference)]
OptionalReferenceField: TypeAlias = Annotated[Reference | None, PlainValidator(or_none(_reference))]
DurationField: TypeAlias = Annotated[float, PlainValidator(one(_positive, "a duration", '"30s"'))]
DrainField: TypeAlias = Annotated[float, PlainValidator(one(parse_duration, "a duration", '"30s"'))]
ClientIdField: TypeAlias = Annotated[
    ClientId, PlainValidator(one(check_client_id, "a client id", '"homelab"'))
]
TunnelNameField: TypeAlias = Annotated[
    TunnelName,
    PlainValidator(one(lambda text: TunnelName(check_name(text)), "a name", '"blog"')),
]
ServiceNameField: TypeAlias = Annotated[
    ServiceName,
    PlainValidator(one(lambda text: ServiceName(check_name(text)), "the name of a service", '"web"')),
]
ProxyProtocolField: TypeAlias = Annotated[
    ProxyProtocol,
    PlainValidator(
        one(
            one_of(ProxyProtocol, "a version of the PROXY protocol"),
            "a version of the PROXY protocol",
            '"v1"',
        )
    ),
]
ListenField: TypeAlias = Annotated[
    tuple[ListenAddress, ...],
    PlainValidator(
        several(parse_listen, "an address with its port", '"0.0.0.0:443"', empty="write at least one address")
    ),
]
ManagementField: TypeAlias = Annotated[
    tuple[ListenAddress, ...],
    PlainValidator(
        several(
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
        several(
            alone(parse_hostname),
            "a hostname",
            '"blog.example.com"',
            empty="write a name, or leave hostname out for the port's default route",
        )
    ),
]
ClientsField: TypeAlias = Annotated[
    tuple[ClientId, ...],
    PlainValidator(
        several(alone(check_client_id), "a client id", '"homelab"', empty="write the id of a client")
    ),
]
AdminsField: TypeAlias = Annotated[
    tuple[ClientId, ...],
    PlainValidator(several(alone(check_client_id), "a client id", '"ops"', empty=None)),
]
GatewaysField: TypeAlias = Annotated[
    tuple[GatewayAddress, ...],
    PlainValidator(
        several(
            alone(parse_gateway_address),
            "the address of a gateway",
            '"gw1.example.com:9056"',
            empty="write the address of at least one gateway",
        )
    ),
]
ServicesField: TypeAlias = Annotated[
    tuple[tuple[ServiceName, ServiceEntry], ...],
    PlainValidator(_services),
]
BalanceField: TypeAlias = Annotated[
    Balance,
    PlainValidator(one(one_of(Balance, "a way to choose a client"), "a word", '"round_robin"')),
]
DeclaresField: TypeAlias = Annotated[
    Declares | None,
    PlainValidator(
        or_none(one(one_of(Declares, "what may become of declared tunnels"), "a word", '"session"'))
    ),
]
NetworksField: TypeAlias = Annotated[
    tuple[Network, ...],
    PlainValidator(several(alone(parse_network), "an address or a network", '"192.0.2.7"', empty=None)),
]
ServiceGlobsField: TypeAlias = Annotated[
    tuple[str, ...] | None,
    PlainValidator(or_none(several(alone(_service_glob), "a service", '"web"', empty=None))),
]
ListenPatternsField: TypeAlias = Annotated[
    tuple[ListenPattern, ...] | None,
    PlainValidator(
        or_none(
            several(alone(parse_listen_pattern), "an address and ports", '"0.0.0.0:8000-8999"', empty=None)
        )
    ),
]
MaxPortsField: TypeAlias = Annotated[int, PlainValidator(_whole_number(0, _MOST_PORTS, "20"))]
SerialField: TypeAlias = Annotated[int | None, PlainValidator(_serial)]
FingerprintField: TypeAlias = Annotated[
    str | None, PlainValidator(or_none(one(parse_fingerprint, "a fingerprint", '"sha256:…"')))
]
BindField: TypeAlias = Annotated[tuple[str, ...], PlainValidator(_bind)]
EgressClientsField: TypeAlias = Annotated[
    tuple[str, ...],
    PlainValidator(
        several(
            alone(lambda text: text if text == "*" else check_client_id(text)),
            "a client id",
            '"homelab"',
            empty='write the id of a client, or "*" for every client',
        )
    ),
]
DestinationsField: TypeAlias = Annotated[
    tuple[Destination, ...],
    PlainValidator(
        several(
            alone(parse_destination),
            "a host or a network",
            '"*.example.com"',
            empty='write a host or a network, or "*" for any host',
        )
    ),
]
PortsField: TypeAlias = Annotated[tuple[PortRange, ...], PlainValidator(_ports)]
PortRangeField: TypeAlias = Annotated[
    PortRange | None,
    PlainValidator(or_none(one(parse_port_range, "a range of ports", '"40000-40010"'))),
]
ProxyField: TypeAlias = Annotated[ProxyChoice, PlainValidator(_proxy)]
PasswordField: TypeAlias = Annotated[FileRef | EnvRef | None, PlainValidator(_password)]
Socks5ListenField: TypeAlias = Annotated[ListenAddress | UnixTarget, PlainValidator(_socks5_listen)]
SocksUserField: TypeAlias = Annotated[
    str | None, PlainValidator(or_none(one(_socks5_user, "a user", '"mail"')))
]
