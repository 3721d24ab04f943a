"""``tidegate apply``: put a file in the place of a state, and wait until it is in force.

Rule: what is typed becomes a change of files here; how that is carried out is decided
in ``changing``.
"""

from __future__ import annotations

from pathlib import Path

from agent.past.state_change import change_to, named_files

from .changing import Terms, carry_out


def run_apply(new: Path, *, to: Path, state: Path | None, terms: Terms) -> int:
    """The command.

    :param new: a file, ``-`` for standard input, or a directory of fragments.
    :param to: what it replaces: the state, or a fragment of it.
    :param state: the state of the agent, if ``to`` is a fragment of it.
    :returns: the exit status.
    :raises StateError: if it is not valid.
    :raises TidegateError: if it is not in force; the message says whether it is in place.
    """
    whole = to if state is None else state
    change = change_to(whole, named_files(new, to=to, state=whole), label=str(new))
    return carry_out(change, terms)
