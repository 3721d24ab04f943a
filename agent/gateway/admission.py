"""Who may connect, as a resource: there is one, and it changes in place."""

from __future__ import annotations

from agent.actuator import Failed
from reconcile.desired import AdmissionSpec

from .sessions import Sessions


class Admission:
    """The rules in force."""

    is_alive = True  # nothing can happen to it

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def update(self, spec: AdmissionSpec) -> None:
        self._sessions.set_admission(spec)

    async def close(self) -> None:
        """Nobody new is let in; who is connected stays until the gateway ends the session."""


class Admissions:
    """Puts the rules in force."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def __call__(self, spec: AdmissionSpec, failed: Failed) -> Admission:
        admission = Admission(self._sessions)
        await admission.update(spec)
        return admission
