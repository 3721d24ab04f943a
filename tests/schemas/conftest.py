"""How Hypothesis runs: a busy machine is not a failure, so no example has a time limit."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
