"""The commands for changing what runs, and for finding out what came of it.

Rule: as in ``commands``, whose program these are a part of: what can be typed, and
nothing else.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from .plain_help import PlainTyper, json_option

if TYPE_CHECKING:
    from .changing import Terms

operations = PlainTyper(add_completion=False, rich_markup_mode=None)


class Condition(Enum):
    READY = "Ready"
    ACCEPTED = "Accepted"
    PROGRAMMED = "Programmed"
    RESOLVED_REFS = "ResolvedRefs"


AgentState: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="STATE",
        help="The state file of the agent. Default: gateway.* or client.* in this directory.",
        show_default=False,
    ),
]
AgentSocket: TypeAlias = Annotated[
    Path | None,
    typer.Option("--socket", metavar="PATH", help="The agent's socket, if not STATE's.", show_default=False),
]
_New: TypeAlias = Annotated[
    Path,
    typer.Argument(
        metavar="NEW",
        help="The file as it is to be, - for stdin, or a directory of fragments.",
        show_default=False,
    ),
]
_Whole: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        help="The directory that is the agent's state, if --to is a fragment in it.",
        show_default=False,
    ),
]
_Timeout: TypeAlias = Annotated[
    str, typer.Option("--timeout", metavar="DURATION", help="How long it may take to be in force.")
]
_ConfirmWithin: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--confirm-within",
        metavar="DURATION",
        help="Undo it after that time, unless tidegate confirm follows. Default: never.",
        show_default=False,
    ),
]
_OnlyPlace: TypeAlias = Annotated[
    bool, typer.Option("--offline", help="Only put the files in place; ask no agent and wait for none.")
]
_AsJson: TypeAlias = Annotated[bool, json_option("Print what came of it as JSON.")]


@operations.command(short_help="Show what a changed state file would do.")
def plan(
    new: _New,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="STATE",
            help="What NEW would replace: the state, or a fragment of it. Default: NEW is the state itself.",
            show_default=False,
        ),
    ] = None,
    state: _Whole = None,
    socket: AgentSocket = None,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Compare with STATE as it is written, or with nothing; ask no agent."),
    ] = False,
    as_json: Annotated[bool, json_option("Print it as JSON, as POST /v1/plan does.")] = False,
) -> None:
    """Show what NEW would change, and how many connections each change would reach. Nothing is changed.

    Relative paths in NEW start at the directory of STATE. The exit status is 0 if there is nothing to do, 2
    if there are changes, and 1 if NEW would be refused, the agent cannot be asked or a word is mistyped.

    \b
    Examples:
      tidegate plan new.yaml --to gateway.yaml
      tidegate plan gateway.yaml --offline
    """
    from .plan import run_plan

    status = run_plan(new, to=to, state=state, socket=socket, offline=offline, as_json=as_json)
    raise typer.Exit(status)


@operations.command(short_help="Let a running agent look at its state file now.")
def reload(
    state: AgentState = None,
    socket: AgentSocket = None,
    timeout: _Timeout = "30s",
    as_json: Annotated[bool, json_option("Print what came of it as JSON, as POST /v1/reload does.")] = False,
) -> None:
    """Let a running agent look at its state file and its keys now, and wait until the state is applied.

    Agents also look by themselves. The exit status is 0 if what the file says is in force, and otherwise 1:
    every problem is a line FILE:LINE:COLUMN: MESSAGE on stderr, and so is what could not be opened. What the
    newest generation of a client has changed of a gateway is in force when that is reached.

    \b
    Example:
      tidegate reload
    """
    from .reload import run_reload

    raise typer.Exit(run_reload(state, socket=socket, timeout=_duration(timeout), as_json=as_json))


@operations.command(short_help="Say what becomes of a visitor, and why.")
def explain(
    listen: Annotated[
        str,
        typer.Argument(
            metavar="HOST:PORT",
            help="Where the visitor connects; :PORT is any address of the gateway.",
            show_default=False,
        ),
    ],
    sni: Annotated[
        str | None,
        typer.Option("--sni", metavar="NAME", help="The TLS server name it asks for.", show_default=False),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="NAME", help="The HTTP host it asks for.", show_default=False),
    ] = None,
    state: AgentState = None,
    socket: AgentSocket = None,
    as_json: Annotated[bool, json_option("Print it as JSON, as GET /v1/explain does.")] = False,
) -> None:
    """Say which tunnel of a running gateway takes a visitor, which client serves it, and why.

    If none does, it says what the visitor gets instead. Nobody is connected to find out. The exit status is
    0 if the visitor gets through, and 1 if not.

    \b
    Examples:
      tidegate explain 203.0.113.7:443 --sni blog.example.com
      tidegate explain :25
    """
    from .explain import run_explain

    raise typer.Exit(run_explain(listen, sni=sni, host=host, state=state, socket=socket, as_json=as_json))


@operations.command(short_help="Wait until tunnels are ready.")
def wait(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TUNNEL...]",
            help="What to wait for; on a client, the gateways. Default: all, and that the file is in force.",
            show_default=False,
        ),
    ] = None,
    condition: Annotated[
        Condition,
        typer.Option(
            "--for",
            case_sensitive=False,
            metavar="CONDITION",
            help="What must be true of each: Ready, Accepted, Programmed or ResolvedRefs.",
        ),
    ] = Condition.READY,
    timeout: Annotated[str, typer.Option("--timeout", metavar="DURATION", help="For how long.")] = "30s",
    state: AgentState = None,
    socket: AgentSocket = None,
) -> None:
    """Wait until tunnels have a condition: Ready means that a visitor gets through.

    Accepted means that its entry is valid, Programmed that its ports are open, and ResolvedRefs that a client
    is connected and offers its service; Ready is all of these.

    The agent looks at its file first, so what was written just before is what is waited for. An agent that
    does not run yet is waited for, too. A tunnel that the file does not declare is an error at once. On a
    client, Ready means that a gateway is connected. The exit status is 0 if everything is so at one moment,
    and 1 if time is up: what is missing is said on stderr.

    \b
    Examples:
      tidegate wait --for Ready --timeout 10s
      tidegate wait --for Programmed blog mail
    """
    from schemas.status import ConditionType

    from .wait import run_wait

    wanted = ConditionType(condition.value)
    seconds = _duration(timeout)
    raise typer.Exit(run_wait(names or (), condition=wanted, timeout=seconds, state=state, socket=socket))


@operations.command(short_help="Put a state file in place, and wait until it is in force.")
def apply(
    new: _New,
    to: Annotated[
        Path,
        typer.Option(
            "--to",
            metavar="STATE",
            help="What it replaces: the state, or a fragment of it.",
            show_default=False,
        ),
    ],
    state: _Whole = None,
    socket: AgentSocket = None,
    timeout: _Timeout = "30s",
    confirm_within: _ConfirmWithin = None,
    offline: _OnlyPlace = False,
    as_json: _AsJson = False,
) -> None:
    """Check NEW, show what it changes, put it in the place of STATE, and wait until it is in force.

    It takes the place of STATE as a whole or not at all. With --confirm-within, the agent puts the old file
    back unless it hears tidegate confirm in time, even if it was stopped or the machine restarted meanwhile.
    The exit status is 0 if NEW is in force, and otherwise 1; the last line says whether it is in place.

    \b
    Examples:
      tidegate apply new.yaml --to gateway.yaml
      tidegate apply new.yaml --to gateway.yaml --confirm-within 60s
      git show HEAD:blog.yaml | tidegate apply - --to gateway.d/blog.yaml --state gateway.d
    """
    from .apply import run_apply

    terms = _terms("tidegate apply", socket, timeout, confirm_within, offline=offline, as_json=as_json)
    raise typer.Exit(run_apply(new, to=to, state=state, terms=terms))


@operations.command(short_help="Keep a change that would be undone.")
def confirm(state: AgentState = None, socket: AgentSocket = None, as_json: _AsJson = False) -> None:
    """Keep the change that was made with --confirm-within. The exit status is 1 if it is too late for that.

    What of it is not in force is said on stderr: it is kept all the same.

    \b
    Example:
      tidegate confirm
    """
    from .confirm import run_confirm

    raise typer.Exit(run_confirm(state, socket=socket, as_json=as_json))


@operations.command(short_help="Show which states were accepted.")
def history(state: AgentState = None, socket: AgentSocket = None, as_json: _AsJson = False) -> None:
    """Show the last states that the agent has accepted, the newest first, also while it does not run.

    \b
    Example:
      tidegate history
    """
    from .history import run_history

    raise typer.Exit(run_history(state, socket=socket, as_json=as_json))


@operations.command(short_help="Return to an earlier state.")
def rollback(
    generation: Annotated[
        int | None,
        typer.Argument(
            metavar="[GENERATION]",
            help="Its number, as tidegate history shows it. Default: the one before.",
            show_default=False,
            min=1,
        ),
    ] = None,
    state: AgentState = None,
    socket: AgentSocket = None,
    timeout: _Timeout = "30s",
    confirm_within: _ConfirmWithin = None,
    offline: _OnlyPlace = False,
    as_json: _AsJson = False,
) -> None:
    """Put the files of an earlier generation in place again, as tidegate apply does.

    Without a number it undoes a change that waits for tidegate confirm; otherwise, if the files are not those
    that count, for example because of a mistake, these come back; otherwise the last that were others.
    What was declared through the API stays as it is. The exit status is that of tidegate apply.

    \b
    Examples:
      tidegate rollback
      tidegate rollback 7 --confirm-within 60s
    """
    from .rollback import run_rollback

    terms = _terms("tidegate rollback", socket, timeout, confirm_within, offline=offline, as_json=as_json)
    raise typer.Exit(run_rollback(generation, state=state, terms=terms))


def _terms(
    command: str,
    socket: Path | None,
    timeout: str,
    confirm_within: str | None,
    *,
    offline: bool,
    as_json: bool,
) -> Terms:
    """What is typed alike of every command that puts files in place."""
    from .changing import Terms

    return Terms(
        command=command,
        socket=socket,
        timeout=_duration(timeout),
        confirm_within=_confirmation_time(confirm_within, offline=offline),
        offline=offline,
        as_json=as_json,
    )


def _confirmation_time(text: str | None, *, offline: bool) -> float | None:
    from schemas.confirmation import LONGEST, SHORTEST
    from schemas.quantities import spell_duration

    if text is None:
        return None
    hint = "'--confirm-within'"
    if offline:
        raise typer.BadParameter("it is the agent that counts, and --offline asks none", param_hint=hint)
    seconds = _duration(text, option=hint)
    if not SHORTEST <= seconds <= LONGEST:
        limits = f"from {spell_duration(SHORTEST)} to {spell_duration(LONGEST)}"
        raise typer.BadParameter(f"write a duration {limits}", param_hint=hint)
    return seconds


def _duration(text: str, *, option: str = "'--timeout'") -> float:
    from schemas.quantities import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
