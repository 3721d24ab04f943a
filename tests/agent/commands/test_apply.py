"""``tidegate apply``, typed at a gateway that runs."""

from __future__ import annotations

import io
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconcile.taking_turns import turn
from tests.support.agents import running
from tests.support.operated import Operated, operated
from tests.support.states import write_client


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Operated]:
    with operated(tmp_path, capsys) as place:
        place.write("a")
        yield place


@pytest.fixture
def gateway(place: Operated) -> Iterator[Operated]:
    """It runs with the tunnel a."""
    with place.running():
        yield place


def test_a_file_is_planned_put_in_place_and_in_force(gateway: Operated) -> None:
    new = gateway.write("a", "b", name="new.yaml")
    status, out, err = gateway.types("apply", "new.yaml", "--to", "gateway.yaml")

    assert (status, err) == (0, "")
    plan, outcome = out.split("Plan against the running agent (generation 1): ")
    assert plan.startswith(f"+ listener 127.0.0.1:{gateway.port('b')}\n")
    assert outcome.splitlines()[1:] == [
        "+ b: in force, and not ready: homelab is not connected: start the client, or look at its log.",
        "gateway.yaml is in place, and generation 2 is in force",
    ]
    assert gateway.state.read_text() == new
    socket.create_connection(("127.0.0.1", gateway.port("b"))).close()
    assert gateway.left() == set()


def test_a_file_that_is_there_already_changes_nothing(gateway: Operated) -> None:
    status, out, _ = gateway.types("apply", "gateway.yaml", "--to", "gateway.yaml")

    assert (status, out.splitlines()) == (
        0,
        [
            "Nothing to do: the running agent (generation 1) is like this already.",
            "gateway.yaml is like this already, and generation 1 is in force",
        ],
    )


def test_standard_input_can_be_applied_and_the_report_be_json(
    gateway: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gateway.text("b").encode())))
    report = gateway.types_json("apply", "-", "--to", "gateway.yaml")

    assert (report["format_version"], report["placing"], report["files"]) == (1, "Placed", ["gateway.yaml"])
    assert (report["generation"], report["accepted"], report["in_force"]) == (2, True, True)
    assert [(one["verb"], one["name"], one["in_force"]) for one in report["outcomes"]] == [
        ("-", "a", True),
        ("+", "b", True),
    ]
    assert len(report["plan"]["changes"]) == 2


def test_mistakes_are_told_at_their_lines_and_nothing_is_changed(gateway: Operated) -> None:
    old = gateway.state.read_text()
    (gateway.directory / "new.yaml").write_text(gateway.text("b").replace("listen", "lisen"))
    status, out, err = gateway.types("apply", "new.yaml", "--to", "gateway.yaml")

    assert (status, out) == (1, "")
    assert re.search(r'^new\.yaml:7:\d+: unknown key "lisen"; did you mean "listen"\?$', err, re.MULTILINE)
    assert gateway.state.read_text() == old
    assert gateway.left() == set()


def test_keys_that_cannot_be_read_are_mistakes_too(gateway: Operated) -> None:
    (gateway.directory / "new.yaml").write_text(gateway.text("b").replace("gateway.key", "none.key"))
    status, _, err = gateway.types("apply", "new.yaml", "--to", "gateway.yaml")

    assert status == 1
    assert re.search(r"^new\.yaml:5:\d+: .*none\.key", err, re.MULTILINE)


def test_what_the_agent_would_refuse_is_not_put_in_place(gateway: Operated) -> None:
    """The guard against a state without any tunnel is the agent's."""
    old = gateway.state.read_text()
    gateway.write(name="new.yaml")
    status, _, err = gateway.types("apply", "new.yaml", "--to", "gateway.yaml")

    assert status == 1
    assert "allow_empty: true" in err
    assert gateway.state.read_text() == old


def test_a_port_that_is_taken_is_told_and_the_file_is_in_place(gateway: Operated) -> None:
    new = gateway.write("a", "b", name="new.yaml")
    with socket.create_server(("127.0.0.1", gateway.port("b"))):
        status, out, err = gateway.types("apply", "new.yaml", "--to", "gateway.yaml")

    assert status == 1
    assert f"\n+ b: not in force: 127.0.0.1:{gateway.port('b')} is taken by another program" in out
    assert err.startswith("tidegate: error: gateway.yaml is in place, and generation 2 is not in force as a ")
    assert gateway.state.read_text() == new


def test_where_no_agent_runs_that_is_told_and_how_to_place_it_all_the_same(place: Operated) -> None:
    new = place.write("b", name="new.yaml")
    status, out, err = place.types("apply", "new.yaml", "--to", "gateway.yaml")
    assert (status, out) == (1, "")
    assert (
        "start it with: tidegate gateway gateway.yaml; or only put the file in place, with --offline" in err
    )

    status, out, err = place.types("apply", "new.yaml", "--to", "gateway.yaml", "--offline")
    assert (status, out, err) == (0, "gateway.yaml is in place; no agent was asked\n", "")
    assert place.state.read_text() == new


def test_a_state_that_does_not_exist_yet_can_be_placed(place: Operated) -> None:
    place.write("a", name="new.yaml")
    place.state.unlink()

    status, _, err = place.types("apply", "new.yaml", "--to", "gateway.yaml")
    assert (status, "or only put the file in place, with --offline" in err) == (1, True)
    assert place.types("apply", "new.yaml", "--to", "gateway.yaml", "--offline")[0] == 0
    assert place.state.exists()


def test_whoever_else_is_at_it_is_named(place: Operated) -> None:
    place.write("b", name="new.yaml")
    with turn(place.state, holder="tidegate rollback"):
        status, _, err = place.types("apply", "new.yaml", "--to", "gateway.yaml", "--offline")

    assert status == 1
    assert f"tidegate rollback, process {os.getpid()} is just changing" in err


def test_a_link_is_refused(place: Operated) -> None:
    place.write("b", name="new.yaml")
    place.state.rename("real.yaml")
    place.state.symlink_to("real.yaml")
    status, _, err = place.types("apply", "new.yaml", "--to", "gateway.yaml", "--offline")

    assert status == 1
    assert "gateway.yaml is a symbolic link to real.yaml: change the file that it leads to" in err
    assert place.state.is_symlink()


def test_a_file_for_the_other_role_is_refused(place: Operated) -> None:
    (place.directory / "new.yaml").write_text(
        "tidegate: 1\nclient: {id: homelab, gateways: gw1:1, tls: "
        "{cert: pki/homelab.crt, key: pki/homelab.key, ca: pki/ca.crt}}\n"
    )
    status, _, err = place.types("apply", "new.yaml", "--to", "gateway.yaml", "--offline")

    assert (
        status,
        "new.yaml is for a client and gateway.yaml for a gateway: nothing was changed" in err,
    ) == (
        1,
        True,
    )


def test_a_fragment_is_applied_to_its_directory(place: Operated) -> None:
    directory = place.directory / "gateway.d"
    directory.mkdir()
    base = place.text("a").replace(" pki/", " ../pki/")
    (directory / "10-base.yaml").write_text(base)
    (place.directory / "new.yaml").write_text(place.fragment("b"))

    with place.running("gateway.d"):
        status, out, err = place.types(
            "apply", "new.yaml", "--to", "gateway.d/20-b.yaml", "--state", "gateway.d"
        )
    assert (status, err) == (0, "")
    assert out.endswith("gateway.d is in place, and generation 2 is in force\n")
    assert sorted(entry.name for entry in directory.iterdir()) == ["10-base.yaml", "20-b.yaml"]


@pytest.mark.parametrize("command", [["apply"], ["plan"], ["plan", "--offline"]])
def test_a_fragment_without_its_directory_is_told_how_to_name_it(place: Operated, command: list[str]) -> None:
    directory = place.directory / "gateway.d"
    directory.mkdir()
    (directory / "10-base.yaml").write_text(place.text("a").replace(" pki/", " ../pki/"))
    (directory / "20-b.yaml").write_text(place.fragment("b"))
    (place.directory / "new.yaml").write_text(place.fragment("c"))

    status, _, err = place.types(*command, "new.yaml", "--to", "gateway.d/20-b.yaml")

    assert status == 1
    assert 'new.yaml:1:1: the section "gateway" is missing' in err
    assert "if it is a fragment, name the directory that is the state: --state gateway.d\n" in err


def test_a_client_takes_its_files_in_the_same_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with operated(tmp_path, capsys) as place:
        state = write_client(tmp_path, control=place.control)
        (tmp_path / "new.yaml").write_text(state.read_text() + "  mail: '127.0.0.1:2'\n")
        with running("client", state):
            status, out, err = place.types("apply", "new.yaml", "--to", "client.yaml")
            assert (status, err) == (0, "")
            assert out.endswith("+ mail: offered\nclient.yaml is in place, and generation 2 is in force\n")

            status, out, err = place.types("rollback", "--state", "client.yaml")
            assert (status, err) == (0, "")
            assert out.endswith(
                "- mail: not offered\nclient.yaml is in place, and generation 3 is in force\n"
            )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--confirm-within", "60s", "--offline"], "it is the agent that counts, and --offline asks none"),
        (["--confirm-within", "1ms"], "write a duration from 1s to 6h"),
        (["--timeout", "30"], 'write "30s" for seconds'),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_told(place: Operated, options: list[str], message: str) -> None:
    status, _, err = place.types("apply", "new.yaml", "--to", "gateway.yaml", *options)

    assert status == 2
    assert message in err
