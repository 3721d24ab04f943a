"""The commands, as they are typed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.commands.app import app
from agent.version import VERSION
from schemas.failure_report import FailureReport
from schemas.roles import Role
from tests.support.agents import ROOT, tidegate, typed
from tests.support.json_schemas import schema_file
from tests.support.states import write_gateway, write_keys

COMMANDS = [
    ["gateway"],
    ["client"],
    ["check"],
    ["status"],
    ["schema"],
    ["demo"],
    ["plan"],
    ["apply"],
    ["confirm"],
    ["history"],
    ["rollback"],
    ["reload"],
    ["wait"],
    ["explain"],
    ["pki"],
    ["pki", "init"],
    ["pki", "gateway"],
    ["pki", "client"],
    ["pki", "revoke"],
]

#: Those that can answer in JSON, as somebody types them where there is nothing.
ANSWERING = {
    "status": (),
    "explain": (":443",),
    "plan": ("new.yaml", "--to", "gateway.yaml"),
    "apply": ("new.yaml", "--to", "gateway.yaml"),
    "confirm": (),
    "rollback": (),
    "history": (),
    "reload": (),
}

# What a process that only prints help has no use for. Typer itself loads pydantic's core.
HEAVY = {
    "anyio",
    "cryptography",
    "httpx2",
    "rich",
    "schemas.state",
    "starlette",
    "structlog",
    "uvicorn",
    "yaml",
}


@pytest.mark.parametrize("command", [[], *COMMANDS], ids=" ".join)
def test_the_help_of_every_command_has_an_example(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"], prog_name="tidegate")

    assert result.exit_code == 0
    assert "Example" in result.stdout
    assert f"    tidegate {' '.join(command)}" in result.stdout


@pytest.mark.parametrize("command", [[], *COMMANDS], ids=" ".join)
def test_every_command_shows_its_help_for_h_alone_and_no_type_of_python(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "-h"], prog_name="tidegate")

    assert result.stdout == CliRunner().invoke(app, [*command, "--help"], prog_name="tidegate").stdout
    assert not re.search("<(str|int|path)>", result.stdout)


@pytest.mark.parametrize("command", [[], *COMMANDS], ids=" ".join)
def test_every_option_and_argument_is_explained(command: list[str]) -> None:
    lines = CliRunner().invoke(app, [*command, "--help"], prog_name="tidegate").stdout.splitlines()

    for at, line in enumerate(lines):
        if line.startswith("  -"):
            explained = line.split("  ")[2:] or [lines[at + 1].strip()]
            assert any(part.strip() for part in explained), line


@pytest.mark.parametrize("role", ["gateway", "client"])
def test_the_help_of_an_agent_says_what_sighup_does_with_and_without_the_live_table(role: str) -> None:
    result = CliRunner().invoke(app, [role, "--help"], prog_name="tidegate")
    words = " ".join(result.stdout.split())

    assert "SIGHUP makes it read STATE now" in words
    assert "with the live table" in words


def test_help_loads_nothing_that_it_does_not_need() -> None:
    program = f"import sys, agent.commands; print(*sorted({HEAVY!r} & set(sys.modules)))"

    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert result.stdout.split() == []


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("--version", capsys=capsys) == (0, f"tidegate {VERSION}\n", "")


@pytest.mark.parametrize("arguments", [[], ["pki"]], ids=" ".join)
def test_without_a_command_the_help_is_shown_as_an_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = typed(*arguments, capsys=capsys)

    assert (status, out) == (2, "")
    assert err.startswith("Usage: tidegate")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chekc"], "no such command 'chekc'. Did you mean 'check'? (see tidegate --help)"),
        (["check"], "missing argument 'STATE' (see tidegate check --help)"),
        (["gateway", "--liv", "x"], "no such option: --liv"),
        (["gateway", "a", "b"], "got unexpected extra argument(s) (b) (see tidegate gateway --help)"),
        (["gateway", "a", "--log-format", "xml"], "invalid value for '--log-format'"),
        (["pki", "client", "pki"], "missing argument 'ID' (see tidegate pki client --help)"),
        (["pki", "init", "pki", "--days", "0"], "invalid value for '--days'"),
        (
            ["pki", "revoke", "pki", "homelab", "--serial", "7"],
            "invalid value: name a client or a number, and not",
        ),
        (["pki", "revoke", "pki", "--serial", "x"], 'invalid value for --serial: "x" is not the serial'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_slip_of_the_keyboard_is_one_line_and_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = typed(*arguments, capsys=capsys)

    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"tidegate: error: {message}")


@pytest.mark.parametrize("role", Role)
def test_the_schema_that_is_printed_is_the_file_that_is_shipped(role: Role, tmp_path: Path) -> None:
    printed = tidegate("schema", role.value, directory=tmp_path)

    assert (printed.returncode, printed.stderr) == (0, "")
    assert printed.stdout == schema_file(role).read_text(encoding="utf-8")


@pytest.mark.parametrize("arguments", [["schema"], ["schema", "server"]], ids=" ".join)
def test_whoever_asks_for_the_schema_of_no_role_is_told_the_two(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = typed(*arguments, capsys=capsys)

    assert (status, out, err.count("\n")) == (2, "", 1)
    assert re.search(r"'?gateway'?, '?client'? \(see tidegate schema --help\)$", err)


def test_a_state_can_be_checked_before_it_is_a_file(tmp_path: Path) -> None:
    text = write_gateway(tmp_path).read_text()

    good = tidegate("check", "--no-files", "-", directory=tmp_path, stdin=text)
    bad = tidegate("check", "-", directory=tmp_path, stdin=text.replace("listen", "lisen"))

    assert (good.returncode, good.stdout) == (0, "<stdin>: valid: 1 tunnel on 1 listener, 1 client\n")
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr.startswith("<stdin>:10:5: ")


def test_keys_are_made_in_three_commands(tmp_path: Path) -> None:
    outputs = [
        tidegate("pki", *arguments.split(), directory=tmp_path).stdout.splitlines()[0]
        for arguments in ("init pki", "gateway pki 127.0.0.1", "client pki homelab --days 30")
    ]

    assert [line.partition(",")[0] for line in outputs] == [
        "wrote pki/ca.crt and pki/ca.key",
        "wrote pki/gateway.crt and pki/gateway.key",
        "wrote pki/homelab.crt and pki/homelab.key",
    ]
    assert tidegate("check", write_gateway(tmp_path).name, directory=tmp_path).returncode == 0


def test_keys_that_are_there_are_not_replaced_unless_asked(tmp_path: Path) -> None:
    write_keys(tmp_path)

    refused = tidegate("pki", "client", "pki", "homelab", directory=tmp_path)
    forced = tidegate("pki", "client", "pki", "homelab", "--force", directory=tmp_path)

    assert refused.returncode == 1
    assert "--force" in refused.stderr
    assert forced.returncode == 0


def test_a_list_is_there_before_anybody_is_revoked(tmp_path: Path) -> None:
    begun = tidegate("pki", "init", "other", directory=tmp_path)
    assert "other/crl.pem lists those that it revokes, and nobody is on it yet\n" in begun.stdout
    write_keys(tmp_path)
    assert tidegate("pki", "revoke", "pki", directory=tmp_path).stdout.startswith(
        "pki/crl.pem was there and stays as it is\n"
    )
    (tmp_path / "pki" / "crl.pem").unlink()
    state = write_gateway(tmp_path)
    state.write_text(state.read_text().replace("pki/ca.crt}", "pki/ca.crt, crl: pki/crl.pem}"))
    missing = tidegate("check", state.name, directory=tmp_path)
    assert (
        "there is no such file: check the path, or make the list with tidegate pki revoke" in missing.stderr
    )

    made = tidegate("pki", "revoke", "pki", directory=tmp_path)

    assert made.stdout.startswith("pki/crl.pem was made, and nobody is on it yet\n")
    assert tidegate("check", state.name, directory=tmp_path).returncode == 0


def test_a_client_is_revoked_in_one_command_whether_or_not_its_certificate_is_there_still(
    tmp_path: Path,
) -> None:
    write_keys(tmp_path)

    first = tidegate("pki", "revoke", "pki", "homelab", directory=tmp_path)
    second = tidegate("pki", "revoke", "pki", "homelab", directory=tmp_path)
    third = tidegate("pki", "revoke", "pki", "--serial", "4f:2a", directory=tmp_path)

    assert first.stdout.startswith("pki/crl.pem now lists ")
    assert second.stdout.startswith("pki/crl.pem already lists ")
    assert third.stdout.startswith("pki/crl.pem now lists 4f:2a\n")
    state = write_gateway(tmp_path)
    state.write_text(state.read_text().replace("pki/ca.crt}", "pki/ca.crt, crl: pki/crl.pem}"))
    assert tidegate("check", state.name, directory=tmp_path).returncode == 0


def test_each_command_with_json_answers_in_json_also_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    helps = {name: CliRunner().invoke(app, [name, "--help"]).output for [name, *rest] in COMMANDS if not rest}
    assert {name for name, text in helps.items() if "--json" in text} == set(ANSWERING)

    for name, arguments in ANSWERING.items():
        for more, usual in (((), 1), (("--no-such-option",), 1 if name == "plan" else 2)):
            status, out, err = typed(name, *arguments, *more, "--json", capsys=capsys)
            report = FailureReport.model_validate_json(out)
            assert (name, status) == (name, usual)
            assert err == f"tidegate: error: {report.error}\n"


def test_a_slip_of_the_keyboard_is_not_taken_for_changes(capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2 of ``plan`` says that there are some, to which a script may say yes."""
    assert typed("plan", "new.yaml", "--too", "gateway.yaml", capsys=capsys)[0] == 1
    assert typed("plan", capsys=capsys)[0] == 1
