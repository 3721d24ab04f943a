"""What the two programs say to each other on a session.

Rule: these are the messages of the control stream, as values, and what makes a
JSON object one of them. How they become lines is in ``transport.wire.control``.
A receiver ignores keys and message types that it does not know, so that either
side can be upgraded first; ``PROTOCOL`` counts the changes for which that is not
enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields
from enum import Enum
from ipaddress import ip_address
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeAlias, get_args, get_type_hints

from pydantic_core import from_json, to_json

from .names import check_name

PROTOCOL: Final = 1
MAX_TEXT: Final = 1_000  # characters of a text for a person
MAX_SERVICES: Final = 1_000  # of one client; their names fit into one message
# Of one client at one gateway. A client gone mad, or a thief with its key, would otherwise hold as many TLS
# connections there as there are descriptors; beyond a handful, more of them are of no use to anybody.
MAX_SESSIONS: Final = 16
# Of one client, declared by its own file. A gateway that allows more ports has them written by an operator.
MAX_DECLARED: Final = 500
# Each may have a successor beside it while it drains, under a number of its own.
MAX_SESSION_NUMBER: Final = 2 * MAX_SESSIONS


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("this is no text")
    return value


def _one_line(value: object) -> str:
    """A text for a person as it may be printed: short, and nothing a terminal would obey.

    Shortened and mended instead of refused, on the way out as on the way in: the reason of an
    error must arrive, whatever is quoted in it.
    """
    text = _text(value)
    line = text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"


def _name(value: object) -> str:
    return check_name(_text(value))


def _name_or_nothing(value: object) -> str:
    return _name(value) if value != "" else ""


def _short(most: int) -> Callable[[object], str]:
    def read(value: object) -> str:
        text = _text(value)
        if len(text) > most:
            raise ValueError(f"this has {len(text)} characters, more than {most}")
        return text

    return read


def _whole(least: int, below: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if type(value) is not int or not least <= value < below:
            raise ValueError(f"this is no whole number from {least} to {below - 1}")
        return value

    return read


def _endpoint(value: object) -> tuple[str, int]:
    match value:
        case [str() as host, int() as port] if type(port) is int and 0 <= port < 2**16 and "%" not in host:
            with suppress(ValueError):  # whose text quotes all of it
                return str(ip_address(host)), port
    raise ValueError("this is no address and port")


def _several(read: Callable[[object], object], most: int) -> Callable[[object], tuple[object, ...]]:
    def read_all(value: object) -> tuple[object, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError("this is no list")
        if len(value) > most:
            raise ValueError(f"these are {len(value)}, more than {most}")
        return tuple(map(read, value))

    return read_all


def _code(codes: type[Enum]) -> Callable[[object], Enum]:
    return lambda value: value if isinstance(value, codes) else codes(_text(value))


# A peer is not trusted with our memory or our terminal: nothing it says is long. What stands beside a type
# makes a value of it out of what JSON can say, or raises ValueError.
_Name = Annotated[str, _name]
_Text = Annotated[str, _one_line]
_Instance = Annotated[str, _name_or_nothing]
_Names = Annotated[tuple[str, ...], _several(_name, MAX_SERVICES)]
_Version = Annotated[int, _whole(0, 2**31)]
_SessionNumber = Annotated[int, _whole(1, 2**31)]
_StreamId = Annotated[int, _whole(1, 2**32)]
_Number = Annotated[int, _whole(0, 2**31)]
_Addresses = Annotated[tuple[str, ...], _several(_short(64), 64)]
_Hostnames = Annotated[tuple[str, ...], _several(_short(253), 256)]
_Word = Annotated[str, _short(16)]
_Endpoint = Annotated[tuple[str, int], _endpoint]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What is said as a JSON object. Whoever makes one is held to the same as a peer.

    Not a model of pydantic: all agents speak, and building these takes more memory than all that they say.

    :raises ValueError: if a value is not what its type says.
    """

    def __post_init__(self) -> None:
        for key, read in _readers(type(self)).items():
            try:
                object.__setattr__(self, key, read(getattr(self, key)))
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from None

    @classmethod
    def read(cls, value: object) -> Self:
        """What a JSON object says; its other keys are ignored.

        :raises ValueError: if that is not this.
        """
        if not isinstance(value, Mapping):
            raise ValueError("this is no JSON object")
        for field in fields(cls):
            if field.default is MISSING and field.name not in value:
                raise ValueError(f"{field.name}: this is missing")
        return cls(**{field.name: value[field.name] for field in fields(cls) if field.name in value})


def _made(of: type[_Said]) -> Callable[[object], _Said]:
    return lambda value: value if isinstance(value, of) else of.read(value)


def _readers(said: type[_Said]) -> Mapping[str, Callable[[object], object]]:
    known = _READERS.get(said)
    if known is None:
        hints = get_type_hints(said, include_extras=True)
        known = _READERS[said] = {field.name: hints[field.name].__metadata__[0] for field in fields(said)}
    return known


_READERS: Final[dict[type[_Said], Mapping[str, Callable[[object], object]]]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello(_Said):
    """The client's first message: who it is, what it offers, and which of its sessions this is.

    Sessions of one ``instance``, which is one process, live beside each other, each with a number of its own.
    A client that names no instance has one session.
    """

    type: ClassVar[Literal["hello"]] = "hello"
    protocol: _Version
    id: _Name
    software: _Text
    services: _Names
    instance: _Instance = ""
    session: _SessionNumber = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome(_Said):
    """The gateway takes the client on.

    ``instance`` is one process of the gateway: a client that finds the same behind two addresses has
    reached one gateway twice. Empty of a gateway that does not say.
    """

    type: ClassVar[Literal["welcome"]] = "welcome"
    protocol: _Version
    gateway: _Text
    software: _Text
    instance: _Instance = ""


class RefusalCode(Enum):
    """Why a gateway does not take a client on."""

    NOT_DECLARED = "not_declared"  # the gateway's file does not list the client
    WRONG_IDENTITY = "wrong_identity"  # certificate and hello, or certificate and domain, differ
    REVOKED = "revoked"  # the client's certificate was revoked
    WRONG_PROTOCOL = "wrong_protocol"  # one side must be upgraded
    MALFORMED = "malformed"  # what came is no hello
    TOO_MANY_SESSIONS = "too_many_sessions"  # the number of the session is above what a gateway takes
    GOING_AWAY = "going_away"  # the gateway is stopping
    OTHER = "other"  # a newer gateway's reason; the message says it

    @classmethod
    def _missing_(cls, value: object) -> RefusalCode | None:
        return cls.OTHER if isinstance(value, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal(_Said):
    """The gateway does not take the client on, or no longer. ``message`` says what to do about it."""

    type: ClassVar[Literal["refusal"]] = "refusal"
    code: Annotated[RefusalCode, _code(RefusalCode)]
    message: _Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Services(_Said):
    """The client's services have changed; this is the whole list."""

    type: ClassVar[Literal["services"]] = "services"
    services: _Names


class FailureCode(Enum):
    """Why whoever was offered a stream does not take it: a client, or for egress a gateway."""

    UNKNOWN_SERVICE = "unknown_service"  # the client offers no such service
    SERVICE_DOWN = "service_down"  # it does, but nothing answers at the service's address
    NOT_ALLOWED = "not_allowed"  # no rule of the gateway lets the client reach that
    UNRESOLVABLE = "unresolvable"  # the gateway finds no address of that name
    HOST_UNREACHABLE = "host_unreachable"  # the gateway was told that there is no such machine
    NETWORK_UNREACHABLE = "network_unreachable"  # the gateway has no way there
    CONNECTION_REFUSED = "connection_refused"  # the machine is there, and nothing listens
    TIMED_OUT = "timed_out"  # nobody answers the gateway
    MALFORMED = "malformed"  # the header made no sense
    OTHER = "other"  # a newer version's reason; the message says it

    @classmethod
    def _missing_(cls, value: object) -> FailureCode | None:
        return cls.OTHER if isinstance(value, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFailed(_Said):
    """The sender resets a stream that the receiver opened; sent before the reset."""

    type: ClassVar[Literal["stream_failed"]] = "stream_failed"
    stream: _StreamId
    code: Annotated[FailureCode, _code(FailureCode)]
    message: _Text


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamDialed(_Said):
    """The gateway is about to accept a stream of egress; ``source`` is where it has dialed from."""

    type: ClassVar[Literal["stream_dialed"]] = "stream_dialed"
    stream: _StreamId
    source: _Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced(_Said):
    """The gateway ends this session because the same client opened a newer one."""

    type: ClassVar[Literal["replaced"]] = "replaced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain(_Said):
    """The sender is about to stop: no new streams, please; the open ones may finish."""

    type: ClassVar[Literal["drain"]] = "drain"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicesRefused(_Said):
    """The gateway ignores these of the client's services, which it may not offer; this is the whole list."""

    type: ClassVar[Literal["services_refused"]] = "services_refused"
    services: _Names


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredTunnel(_Said):
    """A tunnel that a client asks for. What its texts mean is told by the gateway, tunnel by tunnel."""

    name: _Name
    listen: _Addresses
    hostname: _Hostnames = ()
    service: _Name
    proxy_protocol: _Word = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declare(_Said):
    """The tunnels that the client's own file declares; this is the whole list.

    ``number`` counts the client's declarations to that gateway, so that the answer can be told from others.
    """

    type: ClassVar[Literal["declare"]] = "declare"
    number: _Number
    tunnels: Annotated[tuple[DeclaredTunnel, ...], _several(_made(DeclaredTunnel), MAX_DECLARED)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelOutcome(_Said):
    """What came of a tunnel that a client has declared: it is in force if there is no problem."""

    name: _Name
    problem: _Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared(_Said):
    """What came of the client's declaration with that number, said again whenever it changes.

    With number 0 it is what the gateway has of the client although nothing was declared on its sessions.
    """

    type: ClassVar[Literal["declared"]] = "declared"
    number: _Number
    tunnels: Annotated[tuple[TunnelOutcome, ...], _several(_made(TunnelOutcome), MAX_DECLARED)]


ControlMessage: TypeAlias = (
    Hello
    | Welcome
    | Refusal
    | Services
    | ServicesRefused
    | Declare
    | Declared
    | StreamFailed
    | StreamDialed
    | Replaced
    | Drain
)

_TYPES: Final[Mapping[str, type[ControlMessage]]] = {said.type: said for said in get_args(ControlMessage)}


def read_message(line: bytes) -> ControlMessage | None:
    """The message in a JSON object, or None for a type of message that this version does not know.

    :raises ValueError: if it is no message; the text says what is wrong with it.
    """
    value: Any = from_json(line, cache_strings="none")  # the cache has room for more than is ever said
    if not isinstance(value, dict):
        raise ValueError("this is no JSON object")
    if "type" not in value:
        raise ValueError("type: this is missing")
    said = _TYPES.get(_text(value["type"]))
    return None if said is None else said.read(value)


def write_message(message: ControlMessage) -> bytes:
    """The JSON object that is the message, on one line."""
    return to_json(
        {"type": message.type, **{field.name: getattr(message, field.name) for field in fields(message)}}
    )
