"""Which Tidegate this is.

Rule: the version is written here and nowhere else; pyproject.toml takes it from here. To ask
for that of the installed package would load what reads mail and archives.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
SOFTWARE: Final = f"tidegate/{VERSION}"
