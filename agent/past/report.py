"""The history of an agent as a value that can be sent and printed.

Rule: a command that reads the directory and one that asks the agent say the same.

Everything here blocks on the disk.
"""

from __future__ import annotations

from pathlib import Path

from reconcile.history import list_generations, read_generation
from reconcile.reading import StateText
from schemas.history_report import GenerationReport, HistoryReport, KeptFile, KeptGeneration


def history_report(directory: Path, generation: int, observed_generation: int) -> HistoryReport:
    """What is kept in that directory, the newest first.

    :param generation: that of the running agent, 0 if none runs.
    :param observed_generation: the last one that was in force as a whole.
    :raises OSError: if it cannot be looked into.
    """
    shelf = list_generations(directory)
    return HistoryReport(
        generations=tuple(
            KeptGeneration(
                generation=kept.number,
                accepted_at=kept.accepted_at,
                digest=kept.digest,
                changed=kept.changed,
                accepted=kept.number == generation,
                in_force=kept.number == observed_generation,
            )
            for kept in reversed(shelf.generations)
        ),
        warnings=shelf.damaged,
    )


def generation_report(directory: Path, number: int) -> GenerationReport:
    """A generation with its files.

    :raises NotKeptError: if it is not there, or damaged.
    """
    kept, texts = read_generation(directory, number)
    return GenerationReport(
        generation=kept.number,
        accepted_at=kept.accepted_at,
        digest=kept.digest,
        changed=kept.changed,
        files=tuple(_kept_file(text) for text in texts),
    )


def _kept_file(text: StateText) -> KeptFile:
    access = text.access
    return KeptFile(
        name=text.name,
        owned=text.owned,
        text=text.data.decode(),
        mode=None if access is None else access.mode,
        owner=None if access is None else access.owner,
        group=None if access is None else access.group,
    )
