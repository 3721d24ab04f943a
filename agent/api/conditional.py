"""Conditional requests: which state a caller knows, RFC 9110 section 13.

Rule: the entity tag of everything that is made of the state is the digest of the
accepted state, and is a strong one: two answers with the same tag are the same.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeAlias

from schemas.quoting import quote

from .problems import ApiError

if TYPE_CHECKING:
    from starlette.requests import Request

#: What the state may be for a request to be carried out, by its digests; None is whatever it is.
Digests: TypeAlias = frozenset[str] | None
ANY_DIGEST: Final[Digests] = None

#: The names of the headers, and what each says.
ETAG: Final = {"ETag": "Which state this is; If-Match takes it."}

_TAG: Final = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS: Final = re.compile(rf"[ \t]*{_TAG}(?:[ \t]*,[ \t]*{_TAG})*[ \t]*")
_EACH_TAG: Final = re.compile(r'(W/)?"([^"]*)"')
_LONGEST: Final = 4096  # characters of a header: some fifty tags


def tag(digest: str) -> str:
    """The entity tag of a state."""
    return f'"{digest}"'


def expected_digests(request: Request, *, needed: bool) -> Digests:
    """What ``If-Match`` asks for.

    :param needed: whether a request without it is refused.
    :raises ApiError: 428 if it is, 400 if the header cannot be read.
    """
    header = _header(request, "if-match")
    if header is None:
        if needed:
            raise ApiError(
                HTTPStatus.PRECONDITION_REQUIRED,
                "If-Match is missing: send the ETag of the state that you have read, or * for whatever it is",
            )
        return ANY_DIGEST
    if header.strip() == "*":
        return ANY_DIGEST
    # A weak tag never matches here, RFC 9110 section 13.1.1.
    return frozenset(digest for weak, digest in _tags("If-Match", header) if not weak)


def is_known(request: Request, digest: str) -> bool:
    """Whether ``If-None-Match`` says that the caller has this state.

    :raises ApiError: 400 if the header cannot be read.
    """
    header = _header(request, "if-none-match")
    if header is None:
        return False
    return header.strip() == "*" or digest in {known for _, known in _tags("If-None-Match", header)}


def stale(digest: str | None = None) -> ApiError:
    """The state is another one than the caller knows.

    :param digest: of the accepted state, None if a newer one is about to be read.
    """
    return ApiError(
        HTTPStatus.PRECONDITION_FAILED,
        "the state has changed since you read it, and nothing was changed: read it again, make your change "
        "to that, and send it",
        headers=None if digest is None else {"ETag": tag(digest)},
    )


def _header(request: Request, name: str) -> str | None:
    lines: list[str] = request.headers.getlist(name)
    return ",".join(lines) if lines else None


def _tags(name: str, header: str) -> list[tuple[str, str]]:
    if len(header) > _LONGEST or not _TAGS.fullmatch(header):
        advice = "send the ETag as it came, quotes included, or *"
        raise ApiError(HTTPStatus.BAD_REQUEST, f"{name} is {quote(header)}, and no entity tag; {advice}")
    return _EACH_TAG.findall(header)
