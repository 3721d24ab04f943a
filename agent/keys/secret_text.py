"""Reading a secret that is one line of text: a password.

Rule: the end of the line that an editor leaves is no part of it, and everything else is.

Blocks on the disk: call it in a worker thread.
"""

from __future__ import annotations

from typing import Final

from schemas.references import EnvRef, FileRef

from .references import UnreadableReferenceError, describe, resolve

LONGEST: Final = 255
"""Bytes of a password, as many as SOCKS5 can say (RFC 1929 section 2)."""

_MOST_READ: Final = LONGEST + 2  # with the end of its line


def read_secret(reference: FileRef | EnvRef) -> bytes:
    """The password that stands there.

    :raises UnreadableReferenceError: if there is none, or something else. Nothing of it is told.
    """
    text = resolve(reference, limit=_MOST_READ, kind="a password").removesuffix(b"\n").removesuffix(b"\r")
    where = describe(reference)
    if b"\n" in text or b"\r" in text or b"\0" in text:
        raise UnreadableReferenceError(f"{where} holds more than one line: put the password there, alone")
    if len(text) > LONGEST:
        raise UnreadableReferenceError(
            f"{where} holds {len(text)} bytes and a password has {LONGEST} at most: put a shorter one there"
        )
    return text
