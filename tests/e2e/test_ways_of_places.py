"""The place of the state file changes: links, directories and mounts are swapped, go away and come back."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.changing import Changing, changing
from tests.support.kubelet import Volume
from tests.support.real_software import Programs, unavailable


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Changing]:
    with changing(tmp_path) as found:
        yield found


def swap_link(link: Path, target: str) -> None:
    """As release tools do it: another link, renamed over the first."""
    fresh = link.with_name(f"{link.name}.new")
    fresh.symlink_to(target)
    fresh.replace(link)


def test_a_volume_of_kubernetes_is_updated_again_and_again(gateway: Changing) -> None:
    """The old directory is removed each time, and a spoiled version is followed by a good one."""
    volume = Volume(gateway.state.parent)
    volume.write({"gateway.yaml": gateway.text("blog")})
    gateway.start("blog")

    volume.write({"gateway.yaml": gateway.text("blog", "mail")})
    gateway.becomes("blog", "mail")
    volume.write({"gateway.yaml": "tidegate: 1\n"})
    gateway.refuses('the section "gateway" is missing')
    for tunnels in (["wiki"], ["blog", "wiki"]):
        volume.write({"gateway.yaml": gateway.text(*tunnels), "README.md": "not a state"})
        gateway.becomes(*tunnels)


def test_a_volume_of_kubernetes_may_be_a_directory_of_fragments(gateway: Changing) -> None:
    """A key that is added to the ConfigMap, or removed from it, is a file that comes or goes."""
    gateway.state = gateway.state.parent
    volume = Volume(gateway.state)
    volume.write({"00.yaml": gateway.text("blog"), "mail.yaml": gateway.fragment("mail")})
    gateway.start("blog", "mail")

    volume.write({"00.yaml": gateway.text("blog"), "wiki.yaml": gateway.fragment("wiki")})
    gateway.becomes("blog", "wiki")
    volume.write({"00.yaml": gateway.text("blog"), "wiki.yaml": gateway.fragment("blog")})
    gateway.refuses("blog")
    volume.write({"00.yaml": gateway.text("blog"), "both.yaml": gateway.fragment("mail", "wiki")})
    gateway.becomes("blog", "mail", "wiki")


def test_a_link_in_the_middle_of_the_path_is_swapped(gateway: Changing, tmp_path: Path) -> None:
    """``current -> releases/2``, with the state file's path through it."""
    for number, tunnels in enumerate((["blog"], ["blog", "mail"], ["mail"]), 1):
        (tmp_path / "releases" / str(number)).mkdir(parents=True)
        (tmp_path / "releases" / str(number) / "gateway.yaml").write_text(gateway.text(*tunnels))
    (tmp_path / "current").symlink_to("releases/1")
    gateway.state = tmp_path / "current" / "gateway.yaml"
    gateway.start("blog")

    swap_link(tmp_path / "current", "releases/2")
    gateway.becomes("blog", "mail")
    shutil.rmtree(tmp_path / "releases" / "1")
    swap_link(tmp_path / "current", "releases/3")
    gateway.becomes("mail")


def test_a_link_that_leads_nowhere_for_a_while(gateway: Changing, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "gateway.yaml"
    target.parent.mkdir()
    target.write_text(gateway.text("blog"))
    gateway.state.symlink_to(target)
    gateway.start("blog")

    shutil.rmtree(target.parent)
    gateway.refuses("there is no such file")
    target.parent.mkdir()
    target.write_text(gateway.text("blog", "mail"))
    gateway.becomes("blog", "mail")
    swap_link(gateway.state, "nothing.yaml")
    gateway.refuses("there is no such file")
    swap_link(gateway.state, str(target))
    gateway.mends()


def test_a_file_that_is_removed_and_comes_back(gateway: Changing) -> None:
    gateway.state.write_text(gateway.text("blog"))
    gateway.start("blog")

    gateway.state.unlink()
    gateway.refuses("there is no such file; create it or correct the path")
    gateway.state.write_text(gateway.text("blog"))
    gateway.mends()
    gateway.state.unlink()
    gateway.refuses("there is no such file")
    gateway.state.write_text(gateway.text("mail"))
    gateway.becomes("mail")


def test_a_directory_that_is_removed_and_comes_back(gateway: Changing) -> None:
    """Twice, the second time with its parent."""
    gateway.state = gateway.state.parent / "tidegate" / "gateway.yaml"
    gateway.state.parent.mkdir()
    gateway.state.write_text(gateway.text("blog"))
    gateway.start("blog")
    for gone, tunnel in ((gateway.state.parent, "mail"), (gateway.state.parent.parent, "wiki")):
        shutil.rmtree(gone)
        gateway.refuses("there is no such file")
        gateway.state.parent.mkdir(parents=True)
        gateway.state.write_text(gateway.text("blog", tunnel))
        gateway.becomes("blog", tunnel)


def test_a_directory_that_is_replaced_by_another(gateway: Changing, tmp_path: Path) -> None:
    """Renamed away and into its place, and edited there afterwards."""
    gateway.state.write_text(gateway.text("blog"))
    gateway.start("blog")

    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "gateway.yaml").write_text(gateway.text("blog", "mail"))
    gateway.state.parent.rename(tmp_path / "old")
    (tmp_path / "new").rename(gateway.state.parent)
    gateway.becomes("blog", "mail")
    gateway.state.write_text(gateway.text("mail"))
    gateway.becomes("mail")


def test_a_file_that_becomes_a_directory_and_a_file_again(gateway: Changing) -> None:
    gateway.state.write_text(gateway.text("blog"))
    gateway.start("blog")

    gateway.state.unlink()
    gateway.state.mkdir()
    gateway.refuses("this directory holds no state files")
    (gateway.state / "all.yaml").write_text(gateway.text("blog", "mail"))
    gateway.becomes("blog", "mail")
    shutil.rmtree(gateway.state)
    gateway.state.write_text(gateway.text("mail"))
    gateway.becomes("mail")


def mortal(programs: Programs) -> Sequence[str]:
    """What to put before a command so that modes of files hold for it, also if it is run by root."""
    if os.geteuid():
        return ()
    dropped = "-dac_override,-dac_read_search"
    return (programs["setpriv"], f"--bounding-set={dropped}", f"--inh-caps={dropped}")


@pytest.mark.real_software("setpriv")
def test_an_unreadable_moment_of_the_file_or_of_its_directory(gateway: Changing, programs: Programs) -> None:
    gateway.state.write_text(gateway.text("blog"))
    gateway.start("blog", inside=mortal(programs))

    fresh = gateway.state.with_suffix(".new")
    fresh.write_text(gateway.text("blog", "mail"))
    fresh.chmod(0)
    fresh.replace(gateway.state)
    gateway.refuses("this process may not read it; change its owner or mode")
    gateway.state.chmod(0o600)
    gateway.becomes("blog", "mail")

    gateway.state.parent.chmod(0)
    gateway.refuses("this process may not read it")
    gateway.state.parent.chmod(0o700)
    gateway.mends()
    gateway.state.write_text(gateway.text("mail"))
    gateway.becomes("mail")


class OwnMounts:
    """Mounts that only one gateway and this test's own commands see."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        probe = subprocess.run([programs["unshare"], "--mount", "true"], capture_output=True, text=True)
        if probe.returncode:
            unavailable(f"no mount namespaces: {probe.stderr.strip()}")
        self._process = 0

    def mounting(self, source: Path, target: Path) -> Sequence[str]:
        """What to put before a command so that it sees that mount."""
        script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
        return (self._programs["unshare"], "--mount", "sh", "-c", script, "sh", str(source), str(target))

    def run(self, process: int, *command: str | Path) -> None:
        """Run a command where that process is."""
        words = [self._programs["nsenter"], "--mount", "--target", str(process), *map(str, command)]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.real_software("unshare", "nsenter", "mount", "umount")
def test_a_file_that_is_mounted_by_itself(gateway: Changing, programs: Programs, tmp_path: Path) -> None:
    """As ``docker run --volume gateway.yaml:/etc/gateway.yaml`` does it.

    What is written into the file on the host is in force. A file that is renamed over it there is another
    one, and the mount still shows the first until it is mounted anew: from inside nobody can tell.
    """
    mounts = OwnMounts(programs)
    host = tmp_path / "host.yaml"
    host.write_text(gateway.text("blog"))
    gateway.state.touch()
    gateway.start("blog", inside=mounts.mounting(host, gateway.state))
    process = gateway.gateway.process.pid

    host.write_text(gateway.text("blog", "mail"))
    gateway.becomes("blog", "mail")
    fresh = tmp_path / "host.new"
    fresh.write_text(gateway.text("wiki"))
    fresh.replace(host)
    host.write_text(gateway.text("blog", "wiki"))
    mounts.run(process, programs["umount"], gateway.state)
    mounts.run(process, programs["mount"], "--bind", host, gateway.state)
    gateway.becomes("blog", "wiki")
