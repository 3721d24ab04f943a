"""``tidegate rollback``, with an agent and without one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.operated import Operated, operated


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Operated]:
    with operated(tmp_path, capsys) as place:
        yield place


@pytest.fixture
def gateway(place: Operated) -> Iterator[Operated]:
    """It runs with the third generation: first the tunnel a, then a and b, then c."""
    place.write("a")
    with place.running():
        for tunnels in (("a", "b"), ("c",)):
            place.write(*tunnels, name="new.yaml")
            assert place.types("apply", "new.yaml", "--to", "gateway.yaml")[0] == 0
        yield place


def test_it_returns_to_the_generation_before_the_one_that_counts(gateway: Operated) -> None:
    status, out, err = gateway.types("rollback")

    assert (status, err) == (0, "")
    assert out.startswith("returning to generation 2\n")
    assert out.endswith("- c: gone\ngateway.yaml is in place, and generation 4 is in force\n")
    assert gateway.state.read_text() == gateway.text("a", "b")


def test_it_returns_to_any_that_is_kept(gateway: Operated) -> None:
    assert gateway.types("rollback", "1")[0] == 0
    assert gateway.state.read_text() == gateway.text("a")

    status, _, err = gateway.types("rollback", "77")
    assert (status, "generation 77 is not kept: see which are with tidegate history" in err) == (1, True)


def test_a_file_with_a_mistake_gives_way_to_the_one_that_counts(gateway: Operated) -> None:
    gateway.state.write_text("tunnels: [\n")
    status, out, _ = gateway.types("rollback", "--state", "gateway.yaml")

    assert status == 0
    assert out.startswith("returning to generation 3\n")
    assert gateway.state.read_text() == gateway.text("c")


def test_a_file_that_was_removed_comes_back(gateway: Operated) -> None:
    gateway.state.unlink()
    status, _, err = gateway.types("rollback", "--state", "gateway.yaml")

    assert (status, err) == (0, "")
    assert gateway.state.read_text() == gateway.text("c")


def test_a_file_that_was_removed_comes_back_for_whom_it_was(place: Operated) -> None:
    place.write("a")
    place.state.chmod(0o600)
    with place.running():
        place.state.unlink()
        assert place.types("rollback", "--state", "gateway.yaml")[0] == 0

    assert place.state.stat().st_mode & 0o777 == 0o600


def test_it_can_have_to_be_confirmed(gateway: Operated) -> None:
    status, out, _ = gateway.types("rollback", "--confirm-within", "1m")
    assert (status, "keep it with tidegate confirm by" in out) == (0, True)

    assert gateway.types("rollback")[0] == 0
    assert gateway.state.read_text() == gateway.text("c")


def test_what_was_declared_through_the_api_is_not_rolled_back_and_that_is_said(gateway: Operated) -> None:
    status, out, _ = gateway.types("rollback", "3")

    assert status == 0
    assert "its files are in place already, and what was declared through the API is not rolled back" in out


def test_it_returns_to_other_files_whatever_was_declared_through_the_api_since(gateway: Operated) -> None:
    for number in (4, 5):
        tunnel = {
            "ClientId": "homelab",
            "ListenAddress": "127.0.0.1",
            "ListenPort": gateway.ports[number - 1],
            "BackEndService": "web",
        }
        transport = httpx2.HTTPTransport(uds="gateway.sock")
        with httpx2.Client(transport=transport) as asking:
            assert asking.put("http://gateway/tunnels", json=[tunnel]).is_success
    for back_to in (("a", "b"), ("c",)):
        status, out, _ = gateway.types("rollback", "--state", "gateway.yaml")
        assert (status, gateway.state.read_text()) == (0, gateway.text(*back_to)), out


def test_offline_it_needs_no_agent(place: Operated) -> None:
    place.write("a")
    with place.running():
        place.write("b", name="new.yaml")
        place.types("apply", "new.yaml", "--to", "gateway.yaml")
    assert place.types("rollback")[0] == 1

    assert place.types("rollback", "--offline")[1].splitlines() == [
        "returning to generation 1",
        "gateway.yaml is in place; no agent was asked",
    ]
    assert place.state.read_text() == place.text("a")
    assert place.types("rollback", "--offline")[1].startswith("returning to generation 2\n")


def test_a_directory_gets_back_the_files_it_had(place: Operated) -> None:
    directory = place.directory / "gateway.d"
    directory.mkdir()
    base = place.text("a").replace(" pki/", " ../pki/")
    (directory / "10-base.yaml").write_text(base)
    (directory / "20-b.yaml").write_text(place.fragment("b"))
    with place.running("gateway.d"):
        (directory / "30-c.yaml").write_text(place.fragment("c"))
        (directory / "20-b.yaml").unlink()
        assert place.types("reload", "--state", "gateway.d")[0] == 0

        status, out, err = place.types("rollback", "1", "--state", "gateway.d")
    assert (status, err) == (0, "")
    assert out.endswith("2 files of gateway.d are in place, and generation 3 is in force\n")
    assert {entry.name for entry in directory.iterdir()} == {"10-base.yaml", "20-b.yaml"}


def test_at_first_there_is_nothing_to_return_to(place: Operated) -> None:
    place.write("a")
    with place.running():
        status, _, err = place.types("rollback")

    assert (status, "no earlier state was kept: see which are with tidegate history" in err) == (1, True)
