"""Which directories decide what a path leads to.

Rule: every symbolic link on the way counts, in the middle of the path as well as
at its end, because replacing any of them replaces the file. Kubernetes mounts
``gateway.yaml -> ..data/gateway.yaml`` and swaps the link ``..data``; releases are
rolled out by swapping ``current -> releases/7``. The link is what changes then, and
only its own directory says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_MOST_LINKS: Final = 40  # Linux follows no more than that in one path; a circle ends here


def directories_on_the_way(path: Path) -> set[Path]:
    """The directory of every symbolic link on the way to ``path``, and that of its end; it may not exist."""
    absolute = path.absolute()
    here = Path(absolute.anchor)
    pending = list(reversed(absolute.parts[1:]))
    found: set[Path] = set()
    links = 0
    while pending:
        part = pending.pop()
        if part == "..":
            here = here.parent  # every link so far has been followed, so this is the real parent
            continue
        try:
            target = (here / part).readlink()
        except OSError:  # no link, or nothing at all
            if not pending:
                found.add(here)
            here /= part
            continue
        found.add(here)
        links += 1
        if links > _MOST_LINKS:
            break
        if target.is_absolute():
            here = Path(target.anchor)
        pending += reversed([part for part in target.parts if part != target.anchor])
    return found
