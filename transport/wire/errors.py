"""Who broke the rules of the wire.

Rule: a codec raises one of these two and nothing else, and the class alone says whose
fault it was. What to do about it (GOAWAY, an alert, a closed socket) is the caller's choice.

    TidegateError
    └── ProtocolError            never raised itself
        ├── LocalProtocolError   we broke the rules: a bug on this side
        └── RemoteProtocolError  the peer did: expected from any network, and never a bug here
"""

from __future__ import annotations

from schemas.errors import TidegateError


class ProtocolError(TidegateError):
    """The rules of a wire protocol were broken.

    `code` is what a yamux GOAWAY caused by this error carries: 0 normal termination,
    1 protocol error, 2 internal error. Codecs that know no GOAWAY leave it alone.
    """

    code: int = 1

    def __init__(self, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class LocalProtocolError(ProtocolError):
    """We asked for something the protocol does not allow at this point."""

    code = 2


class RemoteProtocolError(ProtocolError):
    """The peer sent something the protocol does not allow at this point."""

    code = 1
