"""What is said in a conversation: bytes that follow from a name.

Rule: every byte of every conversation is made here. Whoever hears one makes it again and compares, so that
a byte that is wrong, missing, doubled or another conversation's is found where it is, and not by a hash at
the end, which a connection that was cut never reaches.
"""

from __future__ import annotations

import hashlib
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_ZEROS: Final = bytes(256 * 1024)
_NONCE: Final = bytes(16)


class Tape:
    """The endless words of one side of one conversation, from the beginning.

    :param name: two tapes with one name are equal, and all others differ from the first bytes on.
    """

    def __init__(self, name: str) -> None:
        key = hashlib.sha256(name.encode()).digest()
        self._stream = Cipher(algorithms.AES(key), modes.CTR(_NONCE)).encryptor()

    def take(self, size: int) -> bytes:
        """The next bytes; at most 256 KiB at once."""
        return self._stream.update(memoryview(_ZEROS)[:size])


def first_difference(heard: bytes, expected: bytes) -> int | None:
    """Where two texts of one length differ first, or None if they are equal."""
    if heard == expected:
        return None
    return next(place for place, (one, other) in enumerate(zip(heard, expected, strict=True)) if one != other)
