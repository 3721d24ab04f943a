"""Which directories decide what a path leads to."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconcile.hops import directories_on_the_way


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return tmp_path.resolve()  # so that links above the test's own directory do not count


def test_a_plain_file_is_decided_by_its_directory_alone(top: Path) -> None:
    (top / "gw.yaml").touch()

    assert directories_on_the_way(top / "gw.yaml") == {top}


def test_a_file_that_does_not_exist_yet_has_a_directory_all_the_same(top: Path) -> None:
    assert directories_on_the_way(top / "later" / "gw.yaml") == {top / "later"}


def test_every_link_counts_in_the_layout_of_kubernetes(top: Path) -> None:
    (top / "..2026_01").mkdir()
    (top / "..2026_01" / "gw.yaml").touch()
    (top / "..data").symlink_to("..2026_01")
    (top / "gw.yaml").symlink_to("..data/gw.yaml")

    assert directories_on_the_way(top / "gw.yaml") == {top, top / "..2026_01"}


def test_a_link_in_the_middle_of_the_path_counts(top: Path) -> None:
    (top / "releases" / "7").mkdir(parents=True)
    (top / "current").symlink_to(top / "releases" / "7")

    assert directories_on_the_way(top / "current" / "gw.yaml") == {top, top / "releases" / "7"}


def test_dots_after_a_link_lead_to_the_real_parent(top: Path) -> None:
    (top / "a" / "b").mkdir(parents=True)
    (top / "link").symlink_to("a/b")
    (top / "gw.yaml").symlink_to("link/../gw.yaml")

    assert directories_on_the_way(top / "gw.yaml") == {top, top / "a"}


def test_a_link_to_nothing_says_where_its_target_would_be(top: Path) -> None:
    (top / "gw.yaml").symlink_to("mnt/gw.yaml")

    assert directories_on_the_way(top / "gw.yaml") == {top, top / "mnt"}


def test_links_in_a_circle_come_to_an_end(top: Path) -> None:
    (top / "a").symlink_to("b")
    (top / "b").symlink_to("a")

    assert directories_on_the_way(top / "a") == {top}


def test_a_relative_path_starts_where_the_process_is(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(top)

    assert directories_on_the_way(Path("gw.yaml")) == {top}
