"""The directory of a ConfigMap or Secret, written as the kubelet writes it into a container.

Rule: the order of its steps is the kubelet's, because that is what others see. Every version is a directory
of its own; ``..data`` is a link to the one that counts, and is swapped in one moment; each key is a link
through ``..data``.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from itertools import count
from pathlib import Path


class Volume:
    """A mounted volume. Each call of :meth:`write` is an update of the object in the cluster."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._versions = count(1)
        path.mkdir(parents=True, exist_ok=True)

    def write(self, files: Mapping[str, str]) -> None:
        """Make these the files of the volume, and no others."""
        data = self._path / "..data"
        old = self._path / data.readlink() if data.is_symlink() else None
        version = self._path / f"..2026_01_31_12_00_{next(self._versions):02}.123456789"
        version.mkdir(mode=0o755)
        for name, text in files.items():
            (version / name).write_text(text)
            (version / name).chmod(0o644)
        fresh = self._path / "..data_tmp"
        fresh.symlink_to(version.name)
        fresh.replace(data)
        for name in files:
            if not (self._path / name).is_symlink():
                (self._path / name).symlink_to(f"..data/{name}")
        for link in self._path.iterdir():
            if link.is_symlink() and not link.name.startswith("..") and link.name not in files:
                link.unlink()
        if old is not None:
            shutil.rmtree(old)
