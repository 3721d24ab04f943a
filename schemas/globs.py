"""Globs: names in which ``*`` stands for any characters, dots too, and for none at all.

Rule: what a glob matches is decided here, for hostnames and for whatever else is named by one.
"""

from __future__ import annotations

import re


def compile_glob(glob: str) -> re.Pattern[str]:
    """A pattern whose ``fullmatch`` a hostile name cannot slow down.

    Between two stars the first place that fits is as good as any other, so it is never given up again
    (an atomic group). Plain ``.*`` would try all combinations: with six stars, 253 characters are enough
    to stop a gateway.
    """
    first, *others = (re.escape(part) for part in glob.split("*"))
    if not others:
        return re.compile(first)
    *middle, last = others
    return re.compile(first + "".join(f"(?>.*?{part})" for part in middle) + ".*" + last, re.DOTALL)
