"""The commands.

Rule: this file says what can be typed and what each thing is called, and nothing
else; whatever a command does is done elsewhere, and imported when it is done, so
that ``--help`` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TypeAlias

import typer

from agent.logs.choices import LogFormat, LogLevel

from .operations import AgentSocket, operations
from .plain_help import InOrder, PlainTyper, json_option
from .start import AgentCommand

if TYPE_CHECKING:
    from agent.keys.pki import Issued

_PROGRAM: Final = "tidegate"


class _Program(InOrder):
    order = (
        "demo", "pki", "check", "gateway", "client",
        "status", "wait", "explain",
        "plan", "apply", "confirm", "rollback", "history", "reload",
        "schema",
    )  # fmt: skip


# Without markup, help is plain text: it can be piped and searched, and Rich is not loaded for it.
app = PlainTyper(
    cls=_Program,
    add_completion=False,
    rich_markup_mode=None,
    invoke_without_command=True,
    context_settings={"help_option_names": ["--help", "-h"]},  # of every command below as well
)
pki = PlainTyper(add_completion=False, rich_markup_mode=None, invoke_without_command=True)
app.add_typer(pki, name="pki", short_help="Make keys and certificates.")
app.add_typer(operations)


class Role(Enum):
    GATEWAY = "gateway"
    CLIENT = "client"


class Syntax(Enum):
    YAML = "yaml"
    TOML = "toml"
    JSON = "json"


def _days(default: str) -> Any:
    return typer.Option(
        "--days",
        metavar="DAYS",
        min=1,
        max=36500,
        help=f"How long it is valid. Default: {default}.",
        show_default=False,
    )


_State: TypeAlias = Annotated[
    Path, typer.Argument(metavar="STATE", help="The state file, or a directory of them.", show_default=False)
]
_Live: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--live/--no-live",
        help="Show the status on the whole terminal. Default: if stdout and stderr are a terminal.",
        show_default=False,
    ),
]
_Format: TypeAlias = Annotated[
    LogFormat | None,
    typer.Option(
        "--log-format",
        help="How log lines look. Default: console on a terminal, else json.",
        show_default=False,
    ),
]
_Level: TypeAlias = Annotated[LogLevel, typer.Option("--log-level", help="The least that is logged.")]
_LogFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--log-file", metavar="FILE", help="Append log lines to this file, not to stderr.", show_default=False
    ),
]
_StockLoop: TypeAlias = Annotated[
    bool, typer.Option("--stock-loop", help="Use Python's own event loop and not uvloop.")
]
_Directory: TypeAlias = Annotated[
    Path, typer.Argument(metavar="DIR", help="The directory of the keys.", show_default=False)
]
_LeafDays: TypeAlias = Annotated[int | None, _days("825")]
_AuthorityDays: TypeAlias = Annotated[int | None, _days("3652, ten years")]
_Force: TypeAlias = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]


@app.callback()
def tidegate(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Reach services behind a firewall through a public machine that is not trusted.

    What is open is declared in a state file, and the agents keep to it.

    \b
    Example, a gateway, a client and a service on this machine with made-up keys:
      tidegate demo
    """
    if version:
        from agent.version import VERSION

        print(f"tidegate {VERSION}")
        raise typer.Exit
    _need_command(context)


@app.command(short_help="Run the gateway, which owns the public ports.")
def gateway(
    state: _State,
    live: _Live = None,
    log_format: _Format = None,
    log_level: _Level = LogLevel.INFO,
    log_file: _LogFile = None,
    stock_loop: _StockLoop = False,
) -> None:
    """Run the gateway: open the public ports that STATE declares, and keep to it as it changes.

    SIGTERM stops it with exit status 0, Ctrl-C with 130: it takes no new visitors, and those who are
    there may finish for as long as drain in STATE says. A second one ends it at once. SIGHUP makes it read
    STATE now, which it also does by itself; with the live table it stops it, since the terminal has gone.

    \b
    Example:
      tidegate gateway gateway.yaml
    """
    _run_role("gateway", state, live, log_format, log_level, log_file, stock_loop=stock_loop)


@app.command(short_help="Run the client, beside the services.")
def client(
    state: _State,
    live: _Live = None,
    log_format: _Format = None,
    log_level: _Level = LogLevel.INFO,
    log_file: _LogFile = None,
    stock_loop: _StockLoop = False,
) -> None:
    """Run the client: keep a session to every gateway in STATE, and serve its visitors.

    Signals are those of tidegate gateway: SIGHUP makes it read STATE now, or stops it with the live table.

    \b
    Example:
      tidegate client client.yaml
    """
    _run_role("client", state, live, log_format, log_level, log_file, stock_loop=stock_loop)


@app.command(short_help="Say whether a state file is valid.")
def check(
    state: Annotated[
        Path,
        typer.Argument(
            metavar="STATE", help="The state file, a directory of them, or - for stdin.", show_default=False
        ),
    ],
    files: Annotated[
        bool, typer.Option("--files/--no-files", help="Also read the keys and certificates it names.")
    ] = True,
    syntax: Annotated[Syntax, typer.Option("--syntax", help="The syntax of stdin.")] = Syntax.YAML,
) -> None:
    """Say whether STATE is valid, without running anything.

    Every problem is a line FILE:LINE:COLUMN: MESSAGE on stderr, and the exit status is 1.

    \b
    Examples:
      tidegate check gateway.yaml
      git show HEAD:gateway.yaml | tidegate check --no-files -
    """
    from .check import run_check

    raise typer.Exit(run_check(state, files=files, syntax=syntax.name))


@app.command(short_help="Show how a running agent is doing.")
def status(
    state: Annotated[
        Path | None,
        typer.Argument(
            metavar="[STATE]",
            help="The state file of the agent. Default: gateway.* or client.* in this directory.",
            show_default=False,
        ),
    ] = None,
    socket: AgentSocket = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")] = False,
    as_json: Annotated[
        bool, json_option("Print it as JSON, as GET /v1/status does; one line each with --watch.")
    ] = False,
) -> None:
    """Show how a running agent is doing.

    The exit status is 0 if the agent answered, however it is doing. In a pipe each tunnel is one line.
    Of the several clients of a tunnel, a,b means that a serves and b stands behind it, a+b that they share
    the visitors, and a+(b) that b would and gets none now.

    \b
    Examples:
      tidegate status
      tidegate status gateway.yaml --watch
      tidegate status | grep -v Ready
    """
    from .status import run_status

    raise typer.Exit(run_status(state, socket=socket, watch=watch, as_json=as_json))


@app.command(short_help="Print the JSON Schema of a state file.")
def schema(
    role: Annotated[
        Role, typer.Argument(metavar="gateway|client", help="Whose state file it is.", show_default=False)
    ],
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the same as a page for people, in Markdown.")
    ] = False,
) -> None:
    """Print the JSON Schema (2020-12) of a state file, by which an editor completes, explains and checks it.

    It says how each entry is written. Whether entries fit together, only tidegate check can say.

    \b
    Example, and the first line of a gateway.yaml beside it:
      tidegate schema gateway > gateway.schema.json
      # yaml-language-server: $schema=gateway.schema.json
    """
    from schemas import json_schema, reference_page, roles

    write = reference_page.reference_page if markdown else json_schema.schema_text
    print(write(roles.Role(role.value)), end="")


@app.command(short_help="Show everything at once, with made-up keys.")
def demo(
    live: Annotated[
        bool | None,
        typer.Option(
            "--live/--no-live", help="End with the live table. Default: on a terminal.", show_default=False
        ),
    ] = None,
) -> None:
    """Run a gateway, a client and a service in a temporary directory, and show what happens.

    Without a terminal it shows the same, without the live table, and ends: with status 0 if all went well.

    \b
    Example:
      tidegate demo
    """
    from .demo import run_demo

    raise typer.Exit(run_demo(live=live))


@pki.callback()
def pki_command(context: typer.Context) -> None:
    """Make keys and certificates for a gateway and its clients.

    \b
    Example:
      tidegate pki init pki
      tidegate pki gateway pki gw1.example.com
      tidegate pki client pki homelab
    """
    _need_command(context)


@pki.command("init", short_help="Make the authority that signs the others.")
def pki_init(
    directory: _Directory,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What the authority is called.")
    ] = "Tidegate CA",
    days: _AuthorityDays = None,
    force: _Force = False,
) -> None:
    """Make the authority that signs all other certificates: DIR/ca.crt and DIR/ca.key.

    Beside them is DIR/crl.pem, the list of the certificates that it revokes, with none on it yet.

    \b
    Example:
      tidegate pki init pki
    """
    from agent.keys.certificates import AUTHORITY_LIFETIME
    from agent.keys.pki import REVOCATION_LIST, init_authority

    lifetime = AUTHORITY_LIFETIME if days is None else timedelta(days=days)
    issued = init_authority(directory, name=name, lifetime=lifetime, force=force)
    _say_written(issued)
    print(f"{directory / REVOCATION_LIST} lists those that it revokes, and nobody is on it yet")
    print(f"keep {issued.key} to yourself: whoever has it can pose as any gateway and any client")


@pki.command("gateway", short_help="Make those of a gateway.")
def pki_gateway(
    directory: _Directory,
    hosts: Annotated[
        list[str],
        typer.Argument(
            metavar="HOST...", help="The names and addresses that clients dial.", show_default=False
        ),
    ],
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What the files are called.")
    ] = "gateway",
    days: _LeafDays = None,
    force: _Force = False,
) -> None:
    """Make a gateway's certificate and key: DIR/gateway.crt and DIR/gateway.key.

    \b
    Example:
      tidegate pki gateway pki gw1.example.com 203.0.113.7
    """
    from agent.keys.certificates import LEAF_LIFETIME
    from agent.keys.pki import issue_gateway

    lifetime = LEAF_LIFETIME if days is None else timedelta(days=days)
    issued = issue_gateway(directory, hosts=hosts, name=name, lifetime=lifetime, force=force)
    _say_written(issued)
    print(f"the gateway's machine needs these two and {directory / 'ca.crt'}, and no other key")


@pki.command("client", short_help="Make those of a client.")
def pki_client(
    directory: _Directory,
    client_id: Annotated[
        str, typer.Argument(metavar="ID", help="The id of the client in the state files.", show_default=False)
    ],
    domain: Annotated[
        str | None,
        typer.Option(
            "--domain",
            metavar="DOMAIN",
            help="The domain of the gateway, if its state file has one.",
            show_default=False,
        ),
    ] = None,
    days: _LeafDays = None,
    force: _Force = False,
) -> None:
    """Make a client's certificate and key: DIR/ID.crt and DIR/ID.key.

    \b
    Example:
      tidegate pki client pki homelab
    """
    from agent.keys.certificates import LEAF_LIFETIME
    from agent.keys.pki import issue_client

    lifetime = LEAF_LIFETIME if days is None else timedelta(days=days)
    issued = issue_client(directory, client_id=client_id, domain=domain, lifetime=lifetime, force=force)
    _say_written(issued)
    print(f"the client's machine needs these two and {directory / 'ca.crt'}, and no other key")


@pki.command("revoke", short_help="Put a client's certificate on the list of those that are refused.")
def pki_revoke(
    directory: _Directory,
    name: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="The client whose certificate is DIR/ID.crt.", show_default=False),
    ] = None,
    serial: Annotated[
        str | None,
        typer.Option(
            "--serial",
            metavar="NUMBER",
            help="The serial number of a certificate that is not in DIR any more, as 4f:2a:09.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Put a client's certificate on the revocation list DIR/crl.pem, which is made if there is none.

    Without ID it is made, with nobody on it, so that the gateway's state file can name it beforehand.

    A gateway whose state file names the list (gateway.tls.crl) refuses the client within a second. A new
    certificate of the same client (tidegate pki client DIR ID --force) is not on the list.

    \b
    Examples:
      tidegate pki revoke pki
      tidegate pki revoke pki homelab
      tidegate pki revoke pki --serial 4f:2a:09
    """
    from agent.keys.pki import REVOCATION_LIST, begin_list, revoke_client, revoke_serial
    from schemas.revocation import parse_serial, spell_serial

    if name is not None and serial is not None:
        raise typer.BadParameter("name a client or a number, and not both: ID, or --serial NUMBER")
    if name is None and serial is None:
        path = directory / REVOCATION_LIST
        told = (
            "was made, and nobody is on it yet" if begin_list(directory) else "was there and stays as it is"
        )
        print(f"{path} {told}")
        _say_where_to_put(path)
        return
    if name is not None:
        revoked = revoke_client(directory, name=name)
    else:
        try:
            revoked = revoke_serial(directory, serial=parse_serial(serial))
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--serial") from error
    told = "now lists" if revoked.is_new else "already lists"
    print(f"{revoked.path} {told} {spell_serial(revoked.serial)}")
    _say_where_to_put(revoked.path)


def _say_where_to_put(path: Path) -> None:
    print(f"the gateway's machine needs {path}, and its state file crl: in gateway.tls")


def _run_role(
    role: str,
    state: Path,
    live: bool | None,
    log_format: LogFormat | None,
    log_level: LogLevel,
    log_file: Path | None,
    *,
    stock_loop: bool,
) -> NoReturn:
    agent = AgentCommand(
        role=role,
        state=state,
        live=live,
        log_format=log_format,
        log_level=log_level,
        log_file=log_file,
        stock_loop=stock_loop,
    )
    raise typer.Exit(agent.run())


def _say_written(issued: Issued) -> None:
    print(f"wrote {issued.certificate} and {issued.key}, valid until {issued.expires:%Y-%m-%d}")


def _need_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(2)


def run_command(arguments: Sequence[str]) -> int:
    """Run a command.

    :returns: the exit status.
    :raises Exception: whatever went wrong, also with the words that were typed.
    """
    status = typer.main.get_command(app).main(args=arguments, prog_name=_PROGRAM, standalone_mode=False)
    return status if isinstance(status, int) else 0
