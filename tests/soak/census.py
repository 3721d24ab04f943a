"""What an agent holds: descriptors, memory, objects and tasks.

Rule: descriptors and memory are the kernel's word, objects and tasks the garbage collector's (``watched``).
The agent is not asked, since it is the one that may have forgotten something.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from .polling import until

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_OURS: Final = ("agent.", "reconcile.", "transport.")
# An agent keeps its last thousand events, and what they tell of: values that no connection holds. That they
# do not become more and more is seen in the memory. Of a client that has gone it keeps how it went, and the
# certificate that it had. It counts the traffic of every name that once had a visitor, and the first may come
# after the warm-up. A worker thread that has nothing to do stays for a while, with what it belongs to.
_KEPT: Final = (
    "agent.events.Event",
    "agent.gateway.absentees.Departure",
    "agent.gateway.revocation.ShownCertificate",
    "agent.traffic.TrafficMeter",
    "anyio._backends._asyncio.WorkerThread",
    "anyio.lowlevel.EventLoopToken",
)
# What a connection or a wait costs the loops and libraries below us.
_BELOW: Final = re.compile(
    r"(uvloop|_?asyncio|aiofastnet|anyio|ssl|_ssl|_socket|socket|select)\b.*|builtins\.coroutine"
)
_LOOK_AGAIN: Final = 0.05  # seconds
_PATIENCE: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """What lives in an agent now."""

    descriptors: Mapping[str, int]  # by kind
    objects: Mapping[str, int]  # by class
    tasks: Mapping[str, int]  # by coroutine
    connections: tuple[str, ...]  # the insides of relays and streams, for people

    @property
    def total(self) -> int:
        """All objects that the garbage collector knows of."""
        return sum(self.objects.values())


def memory(process: int) -> int:
    """Bytes of a process that are in memory now; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def descriptors(process: int) -> Counter[str]:
    """How many descriptors of each kind a process has open; none if it is gone."""
    found: Counter[str] = Counter()
    try:
        entries = list(Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return found
    for entry in entries:
        try:
            found[re.sub(r":\[\d+\]$", "", str(entry.readlink()))] += 1
        except OSError:
            continue  # closed since
    return found


async def take_census(process: int, told: Path) -> Census:
    """Count everything now.

    :param told: the file of the agent's ``watched``.
    :raises NotSoonError: if the agent is too busy to tell, or gone.
    """
    file = anyio.Path(told)
    await file.unlink(missing_ok=True)
    os.kill(process, signal.SIGUSR1)
    await until(file.exists, f"what lives in process {process}", patience=_PATIENCE)
    answer = json.loads(await file.read_text())
    return Census(
        descriptors=descriptors(process),
        objects=answer["counts"],
        tasks=Counter(answer["tasks"]),
        connections=tuple(answer["connections"]),
    )


def excess(before: Census, after: Census) -> dict[str, tuple[int, int]]:
    """What there is more of than before: descriptors, tasks, and objects that connections are made of."""
    found: dict[str, tuple[int, int]] = {}
    for what, old, new in (
        ("descriptor", before.descriptors, after.descriptors),
        ("task", before.tasks, after.tasks),
        ("object", before.objects, after.objects),
    ):
        for name in new:
            if new[name] > old.get(name, 0) and (what != "object" or _counts(name)):
                found[f"{what} {name}"] = (old.get(name, 0), new[name])
    return found


def _counts(name: str) -> bool:
    if name in _KEPT:
        return False
    return name.startswith(_OURS) or _BELOW.fullmatch(name) is not None
