"""How a command's help writes its arguments: as git and kubectl do.

Rule: an argument is written as its metavar and in no other way; of what type Python
makes it is nothing that anybody types. No path is judged before it is opened: whoever opens
it says why it cannot be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

_Function = TypeVar("_Function", bound=Callable[..., Any])


class PlainCommand(TyperCommand):
    """A command that shows ``[STATE]`` where Typer shows ``[[STATE]] <path>``."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        for parameter in self.params:
            if isinstance(parameter, TyperArgument | TyperOption) and parameter.type_descriptor is not None:
                parameter.type_descriptor.parameter_info.readable = False

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [_bare(piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        rows: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            if isinstance(parameter, TyperArgument):
                rows["Arguments"].append((parameter.metavar or parameter.name or "", record[1]))
            else:
                rows["Options"].append(record)
        for title, records in rows.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class InOrder(TyperGroup):
    """Commands in the order of ``order``, in which somebody comes to need them."""

    order: Sequence[str] = ()

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=self.order.index)


class PlainTyper(typer.Typer):
    """Commands whose help is plain."""

    def command(self, *args: Any, **settings: Any) -> Callable[[_Function], _Function]:
        return super().command(*args, cls=PlainCommand, **settings)


def json_option(help: str) -> Any:
    """The option of a command that can answer in JSON, which it then does whatever comes of it."""
    return typer.Option("--json", help=help)


def _bare(piece: str) -> str:
    """Without the brackets that Typer puts around a metavar that has its own."""
    for opening, closing in (("{", "}"), ("[[", "]")):
        if piece.startswith(opening):
            return piece[1 : piece.rindex(closing)]
    return piece
