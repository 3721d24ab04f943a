"""The files of an operator as they are, as they would be, and what that changes on the disk.

Rule: the same change is made of files that somebody names and of files that were kept,
so that whatever puts files in place goes one way. Files mean what they will mean in
their place: relative paths start there, and the syntax is that of the name there.

Everything here blocks on the disk.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.offline import read_texts
from reconcile.reading import StateText, UnreadableError, files_directory, read_regular
from reconcile.together import Change
from schemas.errors import StateError, TidegateError
from schemas.text import Syntax, syntax_for

from .paths import owned_name

STDIN: Final = Path("-")


class NotTheSameError(TidegateError):
    """What is to be replaced is not what it was; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """What is to become of the files of a state.

    ``texts`` are all of the operator's files as they will be, named as messages call them.
    """

    state: Path
    label: str  # what is put in place
    texts: tuple[StateText, ...]
    changes: tuple[Change, ...]  # those that differ, in ``directory``

    @property
    def directory(self) -> Path:
        return files_directory(self.state)


def change_to(state: Path, after: Mapping[str, StateText], *, label: str) -> StateChange:
    """The change that makes these, by the names they will have, the operator's files.

    :raises TidegateError: if the present ones cannot be read.
    """
    before = read_files(state)
    return StateChange(
        state=state,
        label=label,
        texts=tuple(after[name] for name in sorted(after)),
        changes=tuple(
            Change(
                name=name,
                before=_data(before.get(name)),
                after=_data(after.get(name)),
                access=after[name].access if name in after else None,
            )
            for name in sorted({*before, *after})
            if _data(before.get(name)) != _data(after.get(name))
        ),
    )


def named_files(new: Path, *, to: Path, state: Path) -> dict[str, StateText]:
    """The operator's files of ``state`` once ``new`` is in the place of ``to``, by the names they will have.

    :param new: a file, ``-`` for standard input, or a directory of fragments.
    :param to: the state, or a fragment of it.
    :raises TidegateError: if that cannot be done.
    """
    if new != STDIN and new.is_dir():
        if to != state or not to.is_dir():
            raise TidegateError(
                f"{new} is a directory and can only take the place of one: name that with --to"
            )
        return {
            Path(text.name).name: StateText(name=text.name, directory=str(state), data=text.data)
            for text in read_texts(new)
        }
    if to.is_dir():
        raise TidegateError(
            f"{to} is a directory and {new} is not: name the file in it, for example "
            f"--to {to / 'tunnels.yaml'} --state {to}"
        )
    if to == state:
        return {to.name: _named(new, to)}
    if not state.is_dir() or to.absolute().parent != state.absolute():
        raise TidegateError(f"{to} is no fragment of {state}: name a file in that directory with --to")
    return {**read_files(state), to.name: _named(new, to)}


def read_files(state: Path) -> dict[str, StateText]:
    """The operator's files by their names; none if the state does not exist yet.

    :raises TidegateError: if they cannot be read.
    """
    if not state.exists() and not state.is_symlink():
        return {}
    own = owned_name(state)
    named = {Path(text.name).name: text for text in read_texts(state)}
    return {name: text for name, text in named.items() if not (state.is_dir() and name == own)}


def check_untouched(change: StateChange) -> None:
    """Find out whether the files are still as they were when the change was made up.

    :raises NotTheSameError: if somebody has changed one since.
    """
    for one in change.changes:
        path = change.directory / one.name
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            data = None
        if data != one.before:
            raise NotTheSameError(
                f"{path} has just been changed by somebody else: look at it, then try again"
            )


def _named(new: Path, to: Path) -> StateText:
    """The file ``new`` as it is in the place of ``to``."""
    syntax = _syntax(to)
    if syntax is None:
        raise TidegateError(f"{to} is no name of a state file: it must end in .yaml, .yml, .toml or .json")
    if new == STDIN:
        return StateText(name=f"<stdin>{to.suffix}", directory=str(to.parent), data=sys.stdin.buffer.read())
    # Names of temporary files end in anything; then it is the place that says what the file is.
    said = _syntax(new)
    if said not in (None, syntax):
        raise TidegateError(f"{new} and {to} are not in the same syntax: write it as {to.suffix}")
    name = str(new) if said is syntax else f"{new}{to.suffix}"
    try:
        data, _ = read_regular(new, name=str(new))
    except FileNotFoundError as error:
        raise TidegateError(f"{new}: there is no such file; correct the path") from error
    except UnreadableError as error:
        raise TidegateError(f"{new}: {error.problem.message}") from error
    return StateText(name=name, directory=str(to.parent), data=data)


def _syntax(path: Path) -> Syntax | None:
    try:
        return syntax_for(path.name)
    except StateError:
        return None


def _data(text: StateText | None) -> bytes | None:
    return None if text is None else text.data
