"""The tunnels declared through the API: how a declaration comes into force, or does not.

Rule: a declaration is in force as a whole when the answer says so, and in no part
when it says anything else. One is carried out at a time, in these stages, and only
this file knows in which::

    IDLE       nobody declares anything
    CHECKING   the rules are held against the whole state, and the ports are tried;
               nothing is written yet
    APPLYING   the new fragment is on disk, and the loop is asked to apply it
    RESTORING  it did not come into force: the fragment is as before again, and the
               loop is asked to apply that

A caller who goes away while CHECKING changes nothing. From APPLYING on, the work is
shielded: it ends IDLE, either way, whether or not anybody still waits for the
answer. If the agent is stopped while APPLYING the fragment is restored, because
nobody was told that the new one holds. Only a crash (kill -9, a power cut) can
leave a fragment whose caller got no answer; it is valid, and the next start applies
it like any other file.

Decision: ports are freed before others are opened, as in every turn, so a
declaration that fails in spite of CHECKING may close a listener for the moment it
takes to restore it. Connections that are open stay open.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from enum import Enum
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import anyio
import anyio.to_thread
import structlog

from agent.process.descriptors import Use, room_for
from reconcile.declared import DeclaredFile
from reconcile.desired import Key, ListenerSpec, listener_key, route_of
from reconcile.loop import Reconciler, ReconcilerStoppedError, Turn
from reconcile.observed import IN_FLIGHT, Observed, ObservedState, Phase
from schemas.state import GatewayState, State, Tunnel

from .conditional import ANY_DIGEST, Digests, stale
from .identity import Caller
from .naming import is_own_name
from .probe import Probe, Room, overflowing, probe_port, unavailable
from .problems import ApiError, RequestProblem
from .working import judge

if TYPE_CHECKING:
    from .proposal import Proposal

#: What a caller asks for, held against the state files, the fragment, and who it is. Blocks on the disk.
_Wish: TypeAlias = "Callable[[Path, Path, Caller], Proposal]"

#: Seconds that a declaration may take to come into force. A turn of the loop takes milliseconds,
#: and one of its actions at most 30 seconds.
PATIENCE: Final = 60.0

#: Bytes of a tunnel in a file, about.
_TUNNEL: Final = 128

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

_log: Any = structlog.get_logger("api")


def _room() -> int | None:
    return room_for(Use.PORT)


class Stage(Enum):
    """Where the declaration that is being carried out stands."""

    IDLE = "idle"
    CHECKING = "checking"
    APPLYING = "applying"
    RESTORING = "restoring"


class DeclaredTunnels:
    """Owner of the tunnels that were declared through the API.

    :param state_path: the state of the gateway, a file or a directory.
    :param fragment: where the declared tunnels are kept.
    :param loop: reads both, and puts them in force.
    :param observe: what runs.
    :param patience: seconds that a declaration may take to come into force.
    :param written: gives a state without the tunnels that clients declare in their own files.
    """

    def __init__(
        self,
        state_path: Path,
        fragment: DeclaredFile,
        loop: Reconciler,
        observe: Callable[[], ObservedState],
        *,
        patience: float = PATIENCE,
        probe: Probe = probe_port,
        room: Room = _room,
        written: Callable[[State | None], State | None] = lambda state: state,
    ) -> None:
        self._state_path = state_path
        self._fragment = fragment
        self._loop = loop
        self._observe = observe
        self._patience = patience
        self._probe = probe
        self._room = room
        self._written = written
        self._one_at_a_time = anyio.Lock()
        self._stage = Stage.IDLE

    @property
    def stage(self) -> Stage:
        """Where the declaration that is being carried out stands."""
        return self._stage

    def in_force(self) -> tuple[Tunnel, ...]:
        """Every tunnel of the accepted state: of the files, and declared through the API."""
        return _tunnels_of(self._written(self._loop.status.state))

    async def replace(
        self, caller: Caller, tunnels: Sequence[Tunnel], *, expected: Digests = ANY_DIGEST
    ) -> tuple[Tunnel, ...]:
        """Let these be all the tunnels that the caller declares (an admin: that anybody declares).

        :param expected: the accepted state must have one of these digests.
        :returns: the list in force, once the declaration is.
        :raises ApiError: if it is not; everything is as before, unless the message says otherwise.
        """
        from .proposal import propose  # most gateways are never told tunnels in this way

        wish = partial(propose, tunnels=tuple(tunnels), expected=expected)
        return await self._carry_out(caller, wish, expected, size=_TUNNEL * len(tunnels))

    async def replace_state(self, caller: Caller, text: str, *, expected: Digests) -> tuple[Tunnel, ...]:
        """Let this be the state, as far as it is the caller's to say.

        :param text: a document of the state file, as JSON.
        :param expected: the accepted state must have one of these digests.
        :returns: the tunnels in force, once they are.
        :raises ApiError: if they are not; everything is as before, unless the message says otherwise.
        """
        from .whole_state import propose_state  # the same

        shown = {tunnel.name for tunnel in self.in_force()}
        wish = partial(propose_state, text=text, expected=expected, shown=shown)
        return await self._carry_out(caller, wish, expected, size=len(text))

    async def _carry_out(
        self, caller: Caller, wish: _Wish, expected: Digests, *, size: int
    ) -> tuple[Tunnel, ...]:
        async with self._one_at_a_time:
            if self._loop.is_stopped:
                message = "the gateway is stopping; nothing was changed. Try again when it runs"
                raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, message)
            with self._at(Stage.CHECKING), self._ringing_if_stale():
                proposal = await self._check(caller, wish, expected, size)
            if proposal.is_change or _missing(proposal, self._observe(), {}):
                with anyio.CancelScope(shield=True):
                    await self._apply(proposal, caller)
            return self.in_force()

    @contextmanager
    def _ringing_if_stale(self) -> Iterator[None]:
        """Let whoever reads the state again find what is on the disk."""
        try:
            yield
        except ApiError as error:
            if error.status is HTTPStatus.PRECONDITION_FAILED:
                self._loop.ring()
            raise

    @contextmanager
    def _at(self, stage: Stage) -> Iterator[None]:
        before, self._stage = self._stage, stage
        try:
            yield
        finally:
            self._stage = before

    async def _check(self, caller: Caller, wish: _Wish, expected: Digests, size: int) -> Proposal:
        digest = self._loop.status.digest
        if expected is not None and digest not in expected:
            raise stale(digest)
        size += _TUNNEL * len(self.in_force())
        proposal = await judge(wish, self._state_path, self._fragment.path, caller, size=size)
        if proposal.is_change:
            everything = _tunnels_of(self._loop.status.state)
            _keep_off_their_ports(caller, proposal, everything)
            others = [tunnel for tunnel in everything if not _is_replaced(tunnel, caller)]
            problems = overflowing(proposal.asked, others, self._observe(), self._room)
            problems = problems or await unavailable(proposal.asked, self._observe(), self._probe)
            if problems:
                problems = tuple(_placed(problem, proposal) for problem in problems)
                message = "not every port can be opened; nothing was changed"
                raise ApiError(HTTPStatus.CONFLICT, message, problems)
        return proposal

    async def _apply(self, proposal: Proposal, caller: Caller) -> None:
        with self._at(Stage.APPLYING):
            try:
                await self._write(proposal.after, proposal.before)
                await self._wait_until_in_force(proposal)
            except BaseException as error:
                with self._at(Stage.RESTORING):
                    await self._restore(proposal)
                told = [str(problem) for problem in error.problems] if isinstance(error, ApiError) else []
                _log.warning("tunnels_refused", caller=caller.name, reason=str(error), problems=told)
                raise
        names = [tunnel.name for tunnel in proposal.asked]
        _log.info("tunnels_declared", caller=caller.name, tunnels=names)

    async def _write(self, data: bytes | None, before: bytes | None) -> None:
        if data == before:
            return
        try:
            await anyio.to_thread.run_sync(self._fragment.replace, data)
        except OSError as error:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            if error.errno in _FULL:
                status = HTTPStatus.INSUFFICIENT_STORAGE
            why = error.strerror or str(error)
            message = f"the tunnels cannot be written to {self._fragment.path}: {why}; nothing was changed"
            raise ApiError(status, message) from error

    async def _wait_until_in_force(self, proposal: Proposal) -> None:
        """Wait until a turn has opened everything that was asked for, or could not.

        :raises ApiError: if it could not.
        """
        number = self._loop.ring()
        with anyio.move_on_after(self._patience):
            while True:
                turn = await self._turn(number)
                if not turn.accepted:
                    told = [RequestProblem.of(problem) for problem in turn.problems]
                    message = "the gateway did not accept its new state; everything is as before"
                    raise ApiError(HTTPStatus.CONFLICT, message, told)
                missing = _missing(proposal, turn.observed, turn.failed)
                failed = [problem for phase, problem in missing if phase not in IN_FLIGHT]
                if failed:
                    message = "not every port could be opened; everything is as before"
                    raise ApiError(HTTPStatus.CONFLICT, message, failed)
                if not missing:
                    return
                number = turn.number + 1  # what is in flight rings when it has ended
        message = (
            f"the tunnels did not come into force within {self._patience:g} s; everything is as before. "
            "Look at the status of the gateway, then try again"
        )
        raise ApiError(HTTPStatus.GATEWAY_TIMEOUT, message)

    async def _turn(self, number: int) -> Turn:
        try:
            return await self._loop.wait_turn(number)
        except ReconcilerStoppedError as error:
            message = "the gateway is stopping; everything is as before. Try again when it runs"
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, message) from error

    async def _restore(self, proposal: Proposal) -> None:
        """Put the fragment back, and wait until the loop has seen it.

        :raises ApiError: if the disk does not take it.
        """
        try:
            if await anyio.to_thread.run_sync(self._fragment.read) == proposal.before:
                return  # nothing was to be written, or nothing could be
            await anyio.to_thread.run_sync(self._fragment.replace, proposal.before)
        except OSError as error:
            why = error.strerror or str(error)
            path = self._fragment.path
            _log.error("declared_tunnels_not_restored", path=str(path), reason=why)
            message = (
                f"the tunnels are not in force, and {path} cannot be put back as it was: {why}. "
                "The gateway goes on trying to open them; mend the disk, then send the earlier tunnels again"
            )
            raise ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, message) from error
        with anyio.move_on_after(self._patience), suppress(ReconcilerStoppedError):
            await self._loop.wait_turn(self._loop.ring())


def _tunnels_of(state: State | None) -> tuple[Tunnel, ...]:
    return state.tunnels if isinstance(state, GatewayState) else ()


def _keep_off_their_ports(caller: Caller, proposal: Proposal, everything: Sequence[Tunnel]) -> None:
    """See that a client takes no port that another one declares in its own file. An admin may.

    :raises ApiError: 403 if it would.
    """
    if caller.is_admin:
        return
    taken = {
        address: tunnel.client
        for tunnel in everything
        if is_own_name(tunnel.name) and tunnel.client != (caller.client,)
        for address in tunnel.listen
    }
    problems = [
        RequestProblem(
            path=path, message=f"{address} is a port of {', '.join(taken[address])}; choose another one"
        )
        for tunnel, path in zip(proposal.asked, proposal.paths, strict=True)
        for address in tunnel.listen
        if address in taken
    ]
    if problems:
        message = f"{caller.name} may declare tunnels only on ports of its own; ask an admin of the gateway"
        raise ApiError(HTTPStatus.FORBIDDEN, message, problems)


def _is_replaced(tunnel: Tunnel, caller: Caller) -> bool:
    """Whether a tunnel in force is one that the caller's declaration takes the place of."""
    if tunnel.declared_by is None or is_own_name(tunnel.name):
        return False
    return caller.is_admin or tunnel.declared_by == caller.name


def _placed(problem: RequestProblem, proposal: Proposal) -> RequestProblem:
    """A problem of a tunnel by its number, at its place in the body."""
    match problem.path:
        case (int() as index,):
            return replace(problem, path=proposal.paths[index])
        case _:
            return problem


def _missing(
    proposal: Proposal, observed: ObservedState, failed: Mapping[Key, str]
) -> list[tuple[Phase, RequestProblem]]:
    """Every address of a tunnel that does not lead there, how far it is, and why."""
    missing: list[tuple[Phase, RequestProblem]] = []
    for tunnel, path in zip(proposal.asked, proposal.paths, strict=True):
        for address in tunnel.listen:
            key = listener_key(address)
            seen = observed.get(key)
            if not _leads_to(tunnel, seen):
                phase = Phase.FAILED if seen is None or seen.phase is Phase.OPEN else seen.phase
                message = (seen.message if seen is not None else "") or failed.get(key, "")
                text = message or f"{address} is not open; the gateway's log says why"
                missing.append((phase, RequestProblem(path=path, message=text)))
    return missing


def _leads_to(tunnel: Tunnel, seen: Observed | None) -> bool:
    return (
        seen is not None
        and seen.phase is Phase.OPEN
        and isinstance(seen.spec, ListenerSpec)
        and seen.spec.carries(route_of(tunnel))
    )
