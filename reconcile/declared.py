"""The tunnels declared through the API, on disk.

Rule: this file alone writes the fragment that Tidegate owns, and writes nothing
else. A reader finds the old fragment or the new one, never a part of either, and
after ``replace`` returned the new one survives a power cut, for it is ``placing``
that replaces it.

Everything here blocks on the disk: call it in a worker thread.
"""

from __future__ import annotations

from pathlib import Path

from .placing import PRIVATE, place, remove


class DeclaredFile:
    """The owned fragment at ``path``. At most one process writes it at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> bytes | None:
        """The fragment, or None if nothing is declared.

        :raises OSError: if it is there and cannot be read.
        """
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    def replace(self, data: bytes | None) -> None:
        """Put ``data`` in the place of the fragment; None removes it. The directory is made if need be.

        :raises OSError: if it could not be done. The fragment is then as before, except
            when only the last step failed, to make the change outlast a power cut.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if data is None:
            remove(self.path)
        else:
            place(self.path, data, mode=PRIVATE)
