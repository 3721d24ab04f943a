"""What the clients' own files declare: one more source of the desired state.

Rule: what clients declare is added to the state behind its files and the API, as far as
their rights go and there is room for it (``room``); neither a file nor a generation of the
state, nor what the API answers, knows of it. The loop is asked for a turn whenever
anything has changed here, and when the turn has ended each client is told what came of
its tunnels, and again whenever that has become something else.

Of a client that declares again and again only the last declaration counts, and one a
second is taken: the ports of a gateway do not open and close as fast as somebody can talk.

A declaration lasts as long as the client has a session. One of a client with
``declares: kept`` also lasts without, and through a restart of the gateway.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.lowlevel
import structlog
from anyio import to_thread

from reconcile.fine_turns import fine_turns
from reconcile.loop import Turn
from reconcile.observed import ObservedState
from reconcile.reading import StateText
from reconcile.source import Considered, ConsideringSource, Loaded
from schemas.errors import TidegateError
from schemas.messages import Declare, Declared, DeclaredTunnel, TunnelOutcome
from schemas.names import ClientId, Declares
from schemas.state import GatewayState, State

from .connected_client import ConnectedClient
from .kept_declarations import KeptDeclarations
from .outcomes import outcomes_of, spell_outcomes
from .own_tunnels import Claim, NotUnderstood, read_declared
from .precedence import Precedence
from .room import Merged, merge

PAUSE: Final = 1.0
"""Seconds between two declarations of one client that are taken."""

_RETRY: Final = 5.0  # seconds until a disk that did not take something is tried again
_FEW: Final = 50  # tunnels that are read, or found room for, on the event loop
_MOST_WARNINGS: Final = 20

_log: Any = structlog.get_logger("declarations")


@dataclass(slots=True)
class _Declaration:
    """What one client has declared last. ``by`` is the session on which it did, None if that was earlier."""

    number: int
    entries: tuple[DeclaredTunnel, ...]
    read: tuple[Claim | NotUnderstood, ...]
    by: ConnectedClient | None
    told: tuple[TunnelOutcome, ...] | None = None
    logged: tuple[TunnelOutcome, ...] = ()

    @property
    def claims(self) -> Iterator[Claim]:
        return (one for one in self.read if isinstance(one, Claim))


class ClientDeclarations:
    """The declarations of all clients. A ``Source``, and the ``Declarations`` of the sessions.

    :param source: the state without them.
    :param ring: asks for a turn of the loop.
    """

    def __init__(self, source: ConsideringSource, kept: KeptDeclarations, ring: Callable[[], object]) -> None:
        self._source = source
        self._kept = kept
        self._ring = ring
        self._bell = anyio.Event()
        self._here: dict[ClientId, ConnectedClient] = {}
        self._pending: dict[ClientId, tuple[ConnectedClient, Declare]] = {}
        self._taken_at: dict[ClientId, float] = {}
        self._declared: dict[ClientId, _Declaration] = {}
        self._precedence = Precedence()
        self._version = 0
        self._base: GatewayState | None = None
        self._keepers: frozenset[ClientId] = frozenset()  # what these declare outlives their sessions
        self._merged: Merged | None = None
        self._merged_version = -1
        self._before: tuple[GatewayState, GatewayState] | None = None
        self._observed: ObservedState = {}
        self._is_seen = False  # whether a turn has ended that went by what was merged last
        self._is_told = True  # whether everybody has heard what came of it
        self._written: Mapping[ClientId, Sequence[DeclaredTunnel]] = {}
        self._trouble = ""
        self._retry_at = math.inf

    # Before the first turn, and as long as the gateway runs

    async def restore(self) -> None:
        """Take up what was kept when the gateway ran before."""
        try:
            kept = await to_thread.run_sync(self._kept.read)
        except (TidegateError, OSError) as error:
            self._trouble = str(error)
            _log.error("declarations_not_restored", reason=self._trouble)
            return
        self._written = kept
        for client, entries in kept.items():
            self._put(client, _Declaration(0, entries, read_declared(client, entries), None))

    async def run(self) -> None:
        """Take what clients declare, and keep what is to be kept, until cancelled."""
        while True:
            await self._tell_all()
            due = await self._take_what_is_due()
            await self._keep()
            with anyio.CancelScope(deadline=min(due, self._retry_at)):
                await self._bell.wait()
            self._bell = anyio.Event()

    # Declarations

    def welcomed(self, client: ConnectedClient) -> None:
        was_away = client.id not in self._here
        self._here[client.id] = client
        declaration = self._declared.get(client.id)
        if declaration is None:
            return
        if was_away and not self._keeps(client.id):
            self._changed()  # a turn without it may be under way
        if declaration.by is None or declaration.by.instance != client.instance or not client.instance:
            # It may be that this process of the client declares nothing, and then it has to say so.
            declaration.number, declaration.by, declaration.told = 0, client, None
            self._tell(client.id, declaration)

    def declare(self, client: ConnectedClient, message: Declare) -> None:
        self._pending[client.id] = (client, message)
        self._bell.set()

    def gone(self, client_id: ClientId) -> None:
        self._here.pop(client_id, None)
        self._pending.pop(client_id, None)
        declaration = self._declared.get(client_id)
        if declaration is None:
            return
        if self._keeps(client_id):
            declaration.by = declaration.told = None
        else:
            self._drop(client_id)
        self._changed()

    # Source

    async def load(self) -> Loaded:
        loaded = await self._source.load()
        if not isinstance(loaded.state, GatewayState):
            return loaded
        return replace(loaded, state=await self._merge(loaded.state))

    async def attend(self, bell: Callable[[], object]) -> None:
        await self._source.attend(bell)

    def watch_directories(self) -> set[Path]:
        return self._source.watch_directories()

    async def consider(self, texts: Sequence[StateText]) -> Considered:
        """What would come of these texts in the place of the operator's; nothing changes.

        :raises UnreadableError: as that of the files.
        """
        considered = await self._source.consider(texts)
        if not isinstance(considered.state, GatewayState):
            return considered
        return replace(considered, state=(await self._find_room(considered.state)).state)

    def written(self, state: State | None) -> State | None:
        """A state of a turn without what clients declare: that of the files and the API."""
        for merged, base in self._pairs():
            if merged is state:
                return base
        return state

    # What came of it

    def look(self, turn: Turn) -> None:
        """A turn has ended: whoever has not heard it is told soon what came of its tunnels."""
        merged = self._merged
        if merged is None or turn.state is not merged.state or self._merged_version != self._version:
            return  # another turn follows
        self._observed = turn.observed
        self._is_seen = True
        self._is_told = False
        self._bell.set()  # who may keep what may have changed, too

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is asked for and not in force."""
        found = [self._trouble] if self._trouble else []
        for client, declaration in self._declared.items():
            troubles = [outcome for outcome in declaration.logged if outcome.problem]
            if troubles:
                more = f", and {len(troubles) - 1} more" if len(troubles) > 1 else ""
                found.append(
                    f"the file of {client} declares tunnels that are not in force: "
                    f"{troubles[0].name}: {troubles[0].problem}{more}"
                )
        return tuple(found[:_MOST_WARNINGS])

    # Its own

    def _changed(self) -> None:
        self._version += 1
        self._is_seen = False
        self._bell.set()
        self._ring()

    async def _take_what_is_due(self) -> float:
        """Take declarations; when the next one is due, on the clock of the event loop."""
        now = anyio.current_time()
        self._taken_at = {client: at for client, at in self._taken_at.items() if at + PAUSE > now}
        for client_id in list(self._pending):
            if client_id in self._taken_at or client_id not in self._pending:
                continue  # not yet; or it has gone while another one's was read
            by, message = self._pending.pop(client_id)
            try:
                if len(message.tunnels) <= _FEW:
                    read = read_declared(client_id, message.tunnels)
                else:
                    read = await to_thread.run_sync(read_declared, client_id, message.tunnels)
            except Exception as error:  # noqa: BLE001 - a defect costs one client its tunnels, and nobody a gateway
                _log.error("declaration_not_read", client=client_id, exc_info=error)
                read = tuple(NotUnderstood(own=one.name, problem=_defect(error)) for one in message.tunnels)
            if client_id not in self._here or not by.session.is_open:
                continue  # it has gone meanwhile; on another session it declares again
            self._taken_at[client_id] = now
            self._take(by, message, read)
        # Who has declared while another one's was read is due now.
        due = (self._taken_at.get(client, -math.inf) + PAUSE for client in self._pending)
        return min(due, default=math.inf)

    def _take(self, by: ConnectedClient, message: Declare, read: tuple[Claim | NotUnderstood, ...]) -> None:
        before = self._declared.get(by.id)
        if not message.tunnels:
            if before is not None:
                self._drop(by.id)
                self._changed()
            by.session.tell(Declared(number=message.number, tunnels=()))
            return
        declaration = _Declaration(message.number, message.tunnels, read, by)
        if before is not None and before.entries == message.tunnels:
            # The same again, from another session perhaps: nothing changes but who is to be told.
            declaration.logged = before.logged
            self._declared[by.id] = declaration
            self._tell(by.id, declaration)
            return
        self._put(by.id, declaration)
        self._changed()

    def _put(self, client: ClientId, declaration: _Declaration) -> None:
        before = self._declared.get(client)
        names = {claim.tunnel.name for claim in declaration.claims}
        for claim in before.claims if before is not None else ():
            if claim.tunnel.name not in names:
                self._precedence.leave(claim)
        for claim in declaration.claims:
            self._precedence.arrive(claim)
        self._declared[client] = declaration

    def _drop(self, client: ClientId) -> None:
        for claim in self._declared.pop(client).claims:
            self._precedence.leave(claim)

    def _is_lasting(self, client: ClientId) -> bool:
        return client in self._here or self._keeps(client)

    def _keeps(self, client: ClientId) -> bool:
        """Whether the client's tunnels stay when it goes."""
        return client in self._keepers

    async def _merge(self, base: GatewayState) -> GatewayState:
        version = self._version
        if self._merged is not None and base is self._base and version == self._merged_version:
            return self._merged.state
        merged = await self._find_room(base)
        before = self._merged
        if before is not None and self._base is not None:
            if base is self._base and merged.state.tunnels == before.state.tunnels:
                merged = replace(merged, state=before.state)  # so that nobody looks for what has changed
            else:
                self._before = (before.state, self._base)
        self._base, self._merged, self._merged_version = base, merged, version
        self._keepers = _keepers(base)
        for client in [client for client in self._declared if not self._is_lasting(client)]:
            self._drop(client)  # it was kept, and is to be no longer
        self._is_seen = False
        self._precedence.hold(merged.added)
        return merged.state

    async def _find_room(self, base: GatewayState) -> Merged:
        kept = _keepers(base)
        claims = [
            claim
            for client, declaration in self._declared.items()
            if client in self._here or client in kept
            for claim in declaration.claims
        ]
        if not claims:
            return Merged(state=base, added=frozenset(), problems={})
        claims = self._precedence.sort(claims)
        try:
            if len(claims) + len(base.tunnels) <= _FEW:
                return merge(base, claims)
            with fine_turns():
                return await to_thread.run_sync(merge, base, claims)
        except Exception as error:  # noqa: BLE001 - whatever a client asks for, the operator's state comes into force
            _log.error("room_not_found", exc_info=error)
            problems = {claim.tunnel.name: _defect(error) for claim in claims}
            return Merged(state=base, added=frozenset(), problems=problems)

    def _pairs(self) -> Iterator[tuple[GatewayState, GatewayState]]:
        if self._merged is not None and self._base is not None:
            yield self._merged.state, self._base
        if self._before is not None:
            yield self._before

    # Telling

    async def _tell_all(self) -> None:
        """Tell everybody what came of a turn, and let visitors in between a client and the next."""
        if self._is_told:
            return
        self._is_told = True
        for client in list(self._declared):
            declaration = self._declared.get(client)
            if declaration is not None:
                self._tell(client, declaration)
                await anyio.lowlevel.checkpoint()

    def _tell(self, client: ClientId, declaration: _Declaration) -> None:
        """Tell a client what came of its tunnels, if that is known of all of them, and is news."""
        if not self._is_seen or self._merged is None:
            return
        outcomes = outcomes_of(declaration.read, self._merged, self._observed)
        if outcomes is None:
            return  # something is under way
        if outcomes != declaration.logged:
            declaration.logged = outcomes
            has_problems = any(outcome.problem for outcome in outcomes)
            log = _log.warning if has_problems else _log.info
            log("client_tunnels", client=client, **spell_outcomes(outcomes))
        session = self._session_of(client, declaration)
        if session is not None and outcomes != declaration.told:
            declaration.told = outcomes
            session.session.tell(Declared(number=declaration.number, tunnels=outcomes))

    def _session_of(self, client: ClientId, declaration: _Declaration) -> ConnectedClient | None:
        by = declaration.by
        return by if by is not None and by.session.is_open else self._here.get(client)

    # Keeping

    async def _keep(self) -> None:
        """Have on the disk what is to outlive the gateway."""
        has_failed = self._retry_at != math.inf
        if self._base is None or (has_failed and anyio.current_time() < self._retry_at):
            return
        kept = {
            client: declaration.entries
            for client, declaration in self._declared.items()
            if self._keeps(client)
        }
        if kept == self._written:
            return
        try:
            with fine_turns():
                await to_thread.run_sync(self._kept.write, kept)
        except (TidegateError, OSError) as error:
            reason = f"what clients declare cannot be kept beyond a restart: {error}"
            if reason != self._trouble:
                _log.error("declarations_not_kept", reason=reason)
            self._trouble, self._retry_at = reason, anyio.current_time() + _RETRY
        else:
            self._written, self._trouble, self._retry_at = kept, "", math.inf


def _keepers(state: GatewayState) -> frozenset[ClientId]:
    return frozenset(entry.id for entry in state.clients or () if entry.declares is Declares.KEPT)


def _defect(error: Exception) -> str:
    return f"a defect in Tidegate: {type(error).__name__}; please report it"
