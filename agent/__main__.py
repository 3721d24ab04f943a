"""``python -m agent``: the command line, for where the command ``tidegate`` is not on the path."""

from __future__ import annotations

from .cli import main

if __name__ == "__main__":
    main()
