"""The state file is in a work tree, and Git changes it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.changing import Changing, changing
from tests.support.real_software import Programs

pytestmark = pytest.mark.real_software("git")


class Tree:
    """A work tree in which the gateway's state is, and a colleague's clone from which changes come."""

    def __init__(self, program: str, directory: Path) -> None:
        self._program = program
        self.origin, self.colleague = directory / "origin.git", directory / "colleague"
        self.path = directory / "etc"
        self("init", "--quiet", "--bare", "--initial-branch=main", str(self.origin), at=directory)
        for clone in (self.path, self.colleague):
            self("clone", "--quiet", str(self.origin), str(clone), at=directory)
            self("checkout", "--quiet", "-B", "main", at=clone)

    def __call__(self, *words: str, at: Path | None = None) -> None:
        """One command of Git, as nobody in particular and with no settings of this machine."""
        environment = {
            **os.environ,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "A. Nonymous"),
            **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "nobody@example.com"),
        }
        done = subprocess.run(
            [self._program, *words], cwd=at or self.path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def commit(self, files: dict[str, str], *, at: Path | None = None) -> None:
        """These files and no others, as one commit."""
        directory = at or self.path
        for old in directory.glob("*.yaml"):
            old.unlink()
        for name, text in files.items():
            (directory / name).write_text(text)
        self("add", "--all", at=directory)
        self("commit", "--quiet", "--message=change", at=directory)

    def publish(self, files: dict[str, str]) -> None:
        """The colleague commits and pushes."""
        self("pull", "--quiet", "origin", "main", at=self.colleague)
        self.commit(files, at=self.colleague)
        self("push", "--quiet", "origin", "main", at=self.colleague)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Changing]:
    with changing(tmp_path) as found:
        found.state.parent.rmdir()  # for the clone to make
        yield found


@pytest.fixture
def tree(programs: Programs, gateway: Changing) -> Tree:
    tree = Tree(programs["git"], gateway.directory)
    tree.commit({"gateway.yaml": gateway.text("blog")})
    tree("push", "--quiet", "origin", "main")
    return tree


def test_what_is_checked_out_is_in_force_branch_for_branch(gateway: Changing, tree: Tree) -> None:
    tree("checkout", "--quiet", "-b", "more")
    tree.commit({"gateway.yaml": gateway.text("blog", "mail")})
    tree("checkout", "--quiet", "main")
    gateway.start("blog")

    tree("checkout", "--quiet", "more")
    gateway.becomes("blog", "mail")
    tree("checkout", "--quiet", "main")
    gateway.becomes("blog")
    tree("checkout", "--quiet", "more", "--", "gateway.yaml")
    gateway.becomes("blog", "mail")


def test_what_is_pulled_is_in_force_and_a_mistake_is_not(gateway: Changing, tree: Tree) -> None:
    gateway.start("blog")

    tree.publish({"gateway.yaml": gateway.text("blog", "mail")})
    tree("pull", "--quiet", "origin", "main")
    gateway.becomes("blog", "mail")
    tree.publish({"gateway.yaml": gateway.text("blog", "mail").replace("tunnels", "tunnel")})
    tree("pull", "--quiet", "origin", "main")
    gateway.refuses('unknown key "tunnel"')
    tree.publish({"gateway.yaml": gateway.text("blog", "wiki")})
    tree("pull", "--quiet", "--rebase", "origin", "main")
    gateway.becomes("blog", "wiki")


def test_a_reset_takes_back_whatever_was_edited(gateway: Changing, tree: Tree) -> None:
    gateway.start("blog")

    gateway.state.write_text(gateway.text("blog", "mail"))
    gateway.becomes("blog", "mail")
    tree("reset", "--quiet", "--hard")
    gateway.becomes("blog")
    gateway.state.write_text(gateway.text("mail"))
    gateway.becomes("mail")
    tree("stash", "--quiet")
    gateway.becomes("blog")


def test_a_commit_of_many_files_is_one_generation(gateway: Changing, tree: Tree) -> None:
    """A tunnel that moves from one fragment to another is never gone in between, and its port stays open."""
    names = [f"t{number}" for number in range(12)]
    fragments = {f"{number:02}.yaml": gateway.fragment(name) for number, name in enumerate(names)}
    tree.publish({"gateway.yaml": gateway.text("blog"), **fragments})
    tree("pull", "--quiet", "origin", "main")
    gateway.state = gateway.state.parent
    gateway.start("blog", *names)

    moved = {f"{number:02}.yaml": gateway.fragment(name) for number, name in enumerate(reversed(names), 6)}
    tree.publish({"gateway.yaml": gateway.text("blog"), **moved})
    tree("fetch", "--quiet", "origin")
    tree("reset", "--quiet", "--hard", "origin/main")
    gateway.becomes("blog", *names)
    assert "resource_closed" not in gateway.gateway.log
