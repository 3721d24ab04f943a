"""Whatever writes the state file, the ports that it asks for open, and what it spoils stays as it was."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.ansible import settings
from tests.support.changing import Changing, changing
from tests.support.real_software import Programs, require, unavailable

# A way: with these programs, the file at that path becomes one with that text.
Way = Callable[[Programs, Path, str], None]


def run(*command: str | Path, stdin: str = "", environment: Mapping[str, str] | None = None) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


def beside(path: Path, text: str) -> Path:
    """The text in a file in another directory of the same disk."""
    source = path.parent.parent / "new" / path.name
    source.parent.mkdir(exist_ok=True)
    source.write_text(text)
    return source


def mv(programs: Programs, path: Path, text: str) -> None:
    run(programs["mv"], beside(path, text), path)


def mv_from_another_disk(programs: Programs, path: Path, text: str) -> None:
    """Which copies, because nothing can be renamed from one disk to another."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == path.parent.stat().st_dev:
        unavailable("needs a second file system at /dev/shm")
    with tempfile.NamedTemporaryFile("w", dir=memory, delete=False) as source:
        source.write(text)
    run(programs["mv"], source.name, path)


def cp(programs: Programs, path: Path, text: str) -> None:
    run(programs["cp"], beside(path, text), path)


def cp_anew(programs: Programs, path: Path, text: str) -> None:
    run(programs["cp"], "--remove-destination", beside(path, text), path)


def install(programs: Programs, path: Path, text: str) -> None:
    run(programs["install"], "--mode=0644", beside(path, text), path)


def redirection(programs: Programs, path: Path, text: str) -> None:
    run(programs["sh"], "-c", 'cat > "$1"', "sh", path, stdin=text)


def link(programs: Programs, path: Path, text: str) -> None:
    """A symbolic link in its place, as GNU Stow and Nix have it."""
    with tempfile.NamedTemporaryFile("w", dir=beside(path, "").parent, delete=False) as source:
        source.write(text)
    run(programs["ln"], "--symbolic", "--force", source.name, path)


def rsync(programs: Programs, path: Path, text: str) -> None:
    run(programs["rsync"], "--checksum", beside(path, text), path)


def rsync_of_the_directory(programs: Programs, path: Path, text: str) -> None:
    run(
        programs["rsync"], "--archive", "--delete", "--checksum", f"{beside(path, text).parent}/", path.parent
    )


def rsync_in_place(programs: Programs, path: Path, text: str) -> None:
    run(programs["rsync"], "--inplace", "--checksum", beside(path, text), path)


def ed(programs: Programs, path: Path, text: str) -> None:
    run(programs["ed"], "-s", path, stdin=f"1,$d\na\n{text}.\nw\nq\n")


def sed(programs: Programs, path: Path, text: str) -> None:
    """Its own way of editing "in place" is to write another file and rename it."""
    run(programs["sed"], "--in-place", "-e", f"1r {beside(path, text)}", "-e", "d", path)


def vim(programs: Programs, path: Path, text: str, *settings: str) -> None:
    run(
        *(programs["vim.tiny"], "-u", "NONE", "-N", "-n", "-e", "-s", "-c", "set backup writebackup"),
        *(word for setting in settings for word in ("-c", f"set {setting}")),
        *("-c", "%d", "-c", f"0r {beside(path, text)}", "-c", "wq", path),
    )


def vim_that_keeps_the_file(programs: Programs, path: Path, text: str) -> None:
    vim(programs, path, text, "backupcopy=yes")


def vim_that_makes_another(programs: Programs, path: Path, text: str) -> None:
    vim(programs, path, text, "backupcopy=no")


def ansible(programs: Programs, path: Path, text: str) -> None:
    """Ansible writes beside the file and renames, with a name of its own in between."""
    source = beside(path, text)
    run(
        *(programs["ansible"], "localhost", "--inventory", "localhost,", "--connection", "local"),
        *("--extra-vars", f"ansible_python_interpreter={programs['python3']}"),
        *("--module-name", "ansible.builtin.template", "--args", f"src={source} dest={path} mode=0644"),
        environment=settings(path.parent.parent / "ansible"),
    )


WAYS: dict[str, tuple[tuple[str, ...], Way]] = {
    "mv": (("mv",), mv),
    "mv from another disk": (("mv",), mv_from_another_disk),
    "cp": (("cp",), cp),
    "cp --remove-destination": (("cp",), cp_anew),
    "install": (("install",), install),
    "sh >": (("sh",), redirection),
    "ln -sf": (("ln",), link),
    "rsync": (("rsync",), rsync),
    "rsync of the directory": (("rsync",), rsync_of_the_directory),
    "rsync --inplace": (("rsync",), rsync_in_place),
    "ed": (("ed",), ed),
    "sed --in-place": (("sed",), sed),
    "vim with backupcopy=yes": (("vim.tiny",), vim_that_keeps_the_file),
    "vim with backupcopy=no": (("vim.tiny",), vim_that_makes_another),
    "ansible": (("ansible", "python3"), ansible),
}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Changing]:
    with changing(tmp_path) as found:
        yield found


@pytest.mark.real_software
@pytest.mark.parametrize("way", WAYS)
def test_what_is_written_is_in_force_and_what_is_spoiled_is_refused(gateway: Changing, way: str) -> None:
    """A good file, one with a mistake, a good one, each in this way."""
    names, write = WAYS[way]
    programs = require(*names)
    gateway.state.write_text(gateway.text("blog"))
    gateway.start("blog")

    write(programs, gateway.state, gateway.text("blog", "mail"))
    gateway.becomes("blog", "mail")

    write(programs, gateway.state, gateway.text("blog", "mail").replace("service:", "servant:"))
    gateway.refuses('unknown key "servant"')

    write(programs, gateway.state, gateway.text("blog", "wiki"))
    gateway.becomes("blog", "wiki")
