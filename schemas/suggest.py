"""What somebody probably meant to write.

Rule: a guess is made only for what may be a slip of the keyboard, and costs little:
difflib compares every pair of letters.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

#: A longer text is not a misspelled name.
LONGEST_GUESS: Final = 40


@lru_cache(maxsize=1024)
def suggest(text: str, options: tuple[str, ...]) -> str | None:
    """The option that the text is most likely a misspelling of, if any."""
    if len(text) > LONGEST_GUESS:
        return None
    from difflib import get_close_matches  # most agents never see a slip

    folded = {_fold(option): option for option in options}
    close = get_close_matches(_fold(text), folded, n=1)
    return folded[close[0]] if close else None


def _fold(text: str) -> str:
    return text.lower().replace("-", "_")
