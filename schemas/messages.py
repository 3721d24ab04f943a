"""What the two programs say to each other on a session.

Rule: these are the messages of the control stream, and the header that opens a
visitor's stream, as values. How they become bytes is in ``transport.wire``.
A receiver ignores keys and message types that it does not know, so that either
side can be upgraded first; ``PROTOCOL`` counts the changes for which that is not
enough.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

PROTOCOL: Final = 1

# A peer is not trusted with our memory or our terminal: nothing it says is long.
_Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]
_Text = Annotated[str, StringConstraints(max_length=1_000)]
_Names = Annotated[tuple[_Name, ...], Field(max_length=1_000)]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class Hello(_Message):
    """The client's first message: who it is and what it offers."""

    type: Literal["hello"] = "hello"
    protocol: int
    id: _Name
    software: _Text
    services: _Names


class Welcome(_Message):
    """The gateway takes the client on."""

    type: Literal["welcome"] = "welcome"
    protocol: int
    gateway: _Text
    software: _Text


class RefusalCode(Enum):
    """Why a gateway does not take a client on."""

    NOT_DECLARED = "not_declared"  # the gateway's file does not list the client
    WRONG_IDENTITY = "wrong_identity"  # certificate and hello, or certificate and domain, differ
    WRONG_PROTOCOL = "wrong_protocol"  # one side must be upgraded
    MALFORMED = "malformed"  # what came is no hello
    GOING_AWAY = "going_away"  # the gateway is stopping


class Refusal(_Message):
    """The gateway does not take the client on. ``message`` says what to do about it."""

    type: Literal["refusal"] = "refusal"
    code: Annotated[RefusalCode, Field(strict=False)]
    message: _Text


class Services(_Message):
    """The client's services have changed; this is the whole list."""

    type: Literal["services"] = "services"
    services: _Names


class FailureCode(Enum):
    """Why a client could not open a visitor's stream."""

    UNKNOWN_SERVICE = "unknown_service"
    SERVICE_DOWN = "service_down"
    MALFORMED = "malformed"


class StreamFailed(_Message):
    """The client resets a stream that the gateway opened; sent before the reset."""

    type: Literal["stream_failed"] = "stream_failed"
    stream: int
    code: Annotated[FailureCode, Field(strict=False)]
    message: _Text


class Replaced(_Message):
    """The gateway ends this session because the same client opened a newer one."""

    type: Literal["replaced"] = "replaced"


class Drain(_Message):
    """The sender is about to stop: no new streams, please; the open ones may finish."""

    type: Literal["drain"] = "drain"


ControlMessage: TypeAlias = Annotated[
    Hello | Welcome | Refusal | Services | StreamFailed | Replaced | Drain, Field(discriminator="type")
]
