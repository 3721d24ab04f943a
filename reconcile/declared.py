"""The tunnels declared through the API, on disk.

Rule: this file alone writes the fragment that Tidegate owns, and writes nothing
else. A reader finds the old fragment or the new one, never a part of either, and
after ``replace`` returned the new one survives a power cut: a temporary file in
the same directory, fsync, rename, fsync of the directory.

Everything here blocks on the disk: call it in a worker thread.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

_SUFFIX: Final = ".tmp"


class DeclaredFile:
    """The owned fragment at ``path``. At most one process writes it at a time.

    Its temporary files begin with a dot, so that a source which reads the whole
    directory ignores them; what a writer that died has left behind is removed by
    the next ``replace``.
    """

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
        self._remove_leftovers()
        if data is None:
            self.path.unlink(missing_ok=True)
        else:
            self._write(data)
        _sync_directory(self.path.parent)

    def _write(self, data: bytes) -> None:
        # mkstemp creates the file for its owner alone, mode 0600.
        descriptor, name = tempfile.mkstemp(prefix=self._prefix, suffix=_SUFFIX, dir=self.path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise

    @property
    def _prefix(self) -> str:
        return f".{self.path.name}."

    def _remove_leftovers(self) -> None:
        for entry in self.path.parent.iterdir():
            if entry.name.startswith(self._prefix) and entry.name.endswith(_SUFFIX):
                with suppress(OSError):
                    entry.unlink()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
