"""``tidegate plan``, as it is typed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agents import running, tidegate
from tests.support.site import local_ports
from tests.support.states import write_client, write_gateway, write_keys


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state file of a gateway that runs while the tests of this file do."""
    directory = tmp_path_factory.mktemp("plan")
    write_keys(directory)
    write_client(directory)
    control, public = local_ports(2)
    path = write_gateway(directory, control=control, public=public)
    with running("gateway", path):
        yield path


@pytest.fixture
def new(state: Path, tmp_path: Path) -> Path:
    """The same file in another directory, where the keys that it names are not."""
    path = tmp_path / "new.yaml"
    path.write_text(state.read_text())
    return path


def test_what_is_in_force_gives_an_empty_plan_and_status_0(state: Path) -> None:
    result = tidegate("plan", state.name, directory=state.parent)

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "Nothing to do: the running agent (generation 1) is like this already.\n"


def test_a_change_gives_status_2_and_is_not_carried_out(state: Path, new: Path) -> None:
    new.write_text(new.read_text().replace("service: web", "service: other"))

    result = tidegate("plan", str(new), "--to", state.name, directory=state.parent)
    again = tidegate("plan", state.name, directory=state.parent)

    assert (result.returncode, result.stderr) == (2, "")
    assert "    ~ route web: service web -> other\n" in result.stdout
    assert again.returncode == 0


def test_json_has_a_version_and_says_the_same(state: Path, new: Path) -> None:
    new.write_text(new.read_text().replace("service: web", "service: other"))

    result = tidegate("plan", str(new), "--to", str(state), "--json", directory=new.parent)

    assert result.returncode == 2
    report = json.loads(result.stdout)
    assert report["format_version"] == 1
    (change,) = report["changes"]
    assert (change["verb"], change["kind"]) == ("~", "listener")
    assert [(route["verb"], route["after"]["service"]) for route in change["routes"]] == [("~", "other")]


def test_a_file_that_would_be_refused_gives_status_1_and_every_problem(state: Path, new: Path) -> None:
    new.write_text(new.read_text().replace("listen:", "lisen:").replace("name: web", "nam: web"))

    result = tidegate("plan", "new.yaml", "--to", str(state), directory=new.parent)

    assert (result.returncode, result.stdout) == (1, "")
    *problems, last = result.stderr.splitlines()
    assert len(problems) >= 2
    assert all(problem.startswith("new.yaml:") for problem in problems)
    assert last.startswith("tidegate: error: the state has ")


def test_what_comes_on_stdin_is_planned(state: Path) -> None:
    text = state.read_text().replace("service: web", "service: other")

    result = tidegate("plan", "-", "--to", state.name, directory=state.parent, stdin=text)

    assert (result.returncode, result.stderr) == (2, "")
    assert "~ route web: service web -> other" in result.stdout


def test_a_fragment_is_planned_with_the_others(tmp_path: Path) -> None:
    write_keys(tmp_path)
    (tmp_path / "gw.d").mkdir()
    head, _, tunnels = write_gateway(tmp_path).read_text().partition("tunnels:")
    (tmp_path / "gw.d" / "00.yaml").write_text(head)
    (tmp_path / "gw.d" / "10.yaml").write_text(f"tidegate: 1\ntunnels:{tunnels}")
    (tmp_path / "new.yaml").write_text("tidegate: 1\ntunnels: []\n")
    where = ["--to", "gw.d/10.yaml", "--state", "gw.d", "--offline"]

    result = tidegate("plan", "new.yaml", *where, directory=tmp_path)
    same = tidegate("plan", "gw.d/10.yaml", *where, directory=tmp_path)

    assert (result.returncode, same.returncode) == (2, 0)
    assert result.stdout.startswith("- listener ")


def test_offline_it_needs_no_agent(state: Path, new: Path) -> None:
    new.write_text(new.read_text().replace("service: web", "service: other"))

    same = tidegate("plan", str(state), "--to", str(state), "--offline", directory=new.parent)
    other = tidegate("plan", str(new), "--to", str(state), "--offline", directory=new.parent)
    whole = tidegate("plan", str(new), "--offline", directory=new.parent)

    assert (same.returncode, same.stdout) == (0, f"Nothing to do: {state} is like this already.\n")
    assert other.returncode == 2
    assert other.stdout.startswith("~ listener ")
    assert whole.returncode == 2
    assert {line[0] for line in whole.stdout.splitlines() if line[:1] in set("+~-")} == {"+"}


def test_a_client_is_not_compared_with_a_gateway(state: Path) -> None:
    result = tidegate("plan", "client.yaml", "--to", "gateway.yaml", "--offline", directory=state.parent)

    assert result.returncode == 1
    assert "client.yaml is for a client and gateway.yaml for a gateway" in result.stderr


def test_without_an_agent_it_says_how_to_start_one_or_do_without(tmp_path: Path) -> None:
    write_keys(tmp_path)
    path = write_gateway(tmp_path)

    result = tidegate("plan", path.name, directory=tmp_path)

    assert (result.returncode, result.stdout) == (1, "")
    assert (
        "start it with: tidegate gateway gateway.yaml; or plan without one, with --offline" in result.stderr
    )


def test_a_file_that_is_not_utf_8_is_told(state: Path, new: Path) -> None:
    new.write_bytes(b"tidegate: 1 # \xff\n")

    result = tidegate("plan", "new.yaml", "--to", str(state), directory=new.parent)

    assert result.returncode == 1
    assert "new.yaml is not UTF-8 at byte 14" in result.stderr
