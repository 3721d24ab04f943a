"""What the two programs say to each other on a session.

Rule: these are the messages of the control stream, as values, and what makes a
JSON object one of them. How they become lines is in ``transport.wire.control``.
A receiver ignores keys and message types that it does not know, so that either
side can be upgraded first; ``PROTOCOL`` counts the changes for which that is not
enough.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

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


def _one_line(value: object) -> object:
    """A text for a person as it may be printed: short, and nothing a terminal would obey.

    Shortened and mended instead of refused, on the way out as on the way in: the reason of an
    error must arrive, whatever is quoted in it.
    """
    if not isinstance(value, str):
        return value
    line = value if value.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in value)
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"


def _name_or_nothing(text: str) -> str:
    return check_name(text) if text else text


# A peer is not trusted with our memory or our terminal: nothing it says is long.
_Name = Annotated[str, AfterValidator(check_name)]
_Text = Annotated[str, BeforeValidator(_one_line)]
_Instance = Annotated[str, AfterValidator(_name_or_nothing)]
_Names = Annotated[tuple[_Name, ...], Field(max_length=MAX_SERVICES)]
_Version = Annotated[int, Field(ge=0, lt=2**31)]
_SessionNumber = Annotated[int, Field(ge=1, lt=2**31)]
_StreamId = Annotated[int, Field(ge=1, lt=2**32)]
_Number = Annotated[int, Field(ge=0, lt=2**31)]
_Address = Annotated[str, Field(max_length=64)]
_Hostname = Annotated[str, Field(max_length=253)]
_Word = Annotated[str, Field(max_length=16)]


class _Message(BaseModel):
    # Built when it is first sent: neither side sends them all.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, defer_build=True)


class Hello(_Message):
    """The client's first message: who it is, what it offers, and which of its sessions this is.

    Sessions of one ``instance``, which is one process, live beside each other, each with a number of its own.
    A client that names no instance has one session.
    """

    type: Literal["hello"] = "hello"
    protocol: _Version
    id: _Name
    software: _Text
    services: _Names
    instance: _Instance = ""
    session: _SessionNumber = 1


class Welcome(_Message):
    """The gateway takes the client on.

    ``instance`` is one process of the gateway: a client that finds the same behind two addresses has
    reached one gateway twice. Empty of a gateway that does not say.
    """

    type: Literal["welcome"] = "welcome"
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


class Refusal(_Message):
    """The gateway does not take the client on, or no longer. ``message`` says what to do about it."""

    type: Literal["refusal"] = "refusal"
    code: Annotated[RefusalCode, Field(strict=False)]
    message: _Text


class Services(_Message):
    """The client's services have changed; this is the whole list."""

    type: Literal["services"] = "services"
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


class StreamFailed(_Message):
    """The sender resets a stream that the receiver opened; sent before the reset."""

    type: Literal["stream_failed"] = "stream_failed"
    stream: _StreamId
    code: Annotated[FailureCode, Field(strict=False)]
    message: _Text


class Replaced(_Message):
    """The gateway ends this session because the same client opened a newer one."""

    type: Literal["replaced"] = "replaced"


class Drain(_Message):
    """The sender is about to stop: no new streams, please; the open ones may finish."""

    type: Literal["drain"] = "drain"


class ServicesRefused(_Message):
    """The gateway ignores these of the client's services, which it may not offer; this is the whole list."""

    type: Literal["services_refused"] = "services_refused"
    services: _Names


class DeclaredTunnel(_Message):
    """A tunnel that a client asks for. What its texts mean is told by the gateway, tunnel by tunnel."""

    name: _Name
    listen: Annotated[tuple[_Address, ...], Field(max_length=64)]
    hostname: Annotated[tuple[_Hostname, ...], Field(max_length=256)] = ()
    service: _Name
    proxy_protocol: _Word = "off"


class Declare(_Message):
    """The tunnels that the client's own file declares; this is the whole list.

    ``number`` counts the client's declarations to that gateway, so that the answer can be told from others.
    """

    type: Literal["declare"] = "declare"
    number: _Number
    tunnels: Annotated[tuple[DeclaredTunnel, ...], Field(max_length=MAX_DECLARED)]


class TunnelOutcome(_Message):
    """What came of a tunnel that a client has declared: it is in force if there is no problem."""

    name: _Name
    problem: _Text = ""


class Declared(_Message):
    """What came of the client's declaration with that number, said again whenever it changes.

    With number 0 it is what the gateway has of the client although nothing was declared on its sessions.
    """

    type: Literal["declared"] = "declared"
    number: _Number
    tunnels: Annotated[tuple[TunnelOutcome, ...], Field(max_length=MAX_DECLARED)]


ControlMessage: TypeAlias = Annotated[
    Hello
    | Welcome
    | Refusal
    | Services
    | ServicesRefused
    | Declare
    | Declared
    | StreamFailed
    | Replaced
    | Drain,
    Field(discriminator="type"),
]

_ADAPTER: Final[TypeAdapter[ControlMessage]] = TypeAdapter(ControlMessage)


def read_message(line: bytes) -> ControlMessage | None:
    """The message in a JSON object, or None for a type of message that this version does not know.

    :raises ValueError: if it is no message; the text says what is wrong with it.
    """
    try:
        return _ADAPTER.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        if first["type"] == "union_tag_invalid":
            return None
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where + ': ' if where else ''}{first['msg']}") from None
