"""Whatever stands where the state file should be, the last good state stays, and the next good one counts."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from agent.api.client import fetch_status
from tests.support.changing import Changing, changing
from tests.support.real_software import Programs, unavailable


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Changing]:
    with changing(tmp_path) as found:
        found.state.write_text(found.text("blog"))
        yield found


# What may be found there. Each is made at a path where nothing is; the words are those of the refusal.


def empty(path: Path, good: str) -> None:
    path.touch()


def noise(path: Path, good: str) -> None:
    path.write_bytes(bytes(range(256)))


def no_yaml(path: Path, good: str) -> None:
    path.write_text(good + "tunnels: [\n")


def merge_conflict(path: Path, good: str) -> None:
    """As Git leaves a file that it cannot merge."""
    path.write_text(f"<<<<<<< HEAD\n{good}=======\n{good}>>>>>>> main\n")


def html(path: Path, good: str) -> None:
    """As a download that failed."""
    path.write_text("<html><body>404 Not Found</body></html>\n")


def no_tunnels(path: Path, good: str) -> None:
    path.write_text(good[: good.index("tunnels:")] + "tunnels: []\n")


def half(path: Path, good: str) -> None:
    path.write_text(good[:-4])


def another_version(path: Path, good: str) -> None:
    path.write_text(good.replace("tidegate: 1", "tidegate: 2"))


def too_large(path: Path, good: str) -> None:
    with path.open("w") as file:
        file.truncate(17 << 20)


def aliases(path: Path, good: str) -> None:
    """A few lines that would be gigabytes."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    path.write_text("\n".join(lines) + "\n")


def pipe(path: Path, good: str) -> None:
    os.mkfifo(path)


def device(path: Path, good: str) -> None:
    path.symlink_to("/dev/zero")


def circle(path: Path, good: str) -> None:
    path.symlink_to("gateway.yaml")


BAD: dict[Callable[[Path, str], None], str] = {
    empty: "the file holds no state",
    noise: "not UTF-8",
    no_yaml: "a second time",
    merge_conflict: "gateway.yaml:1:1: Git could not merge",
    html: "a state file is a mapping",
    no_tunnels: "removes",
    half: "stops in the middle of a line",
    another_version: "not a version that this Tidegate reads",
    too_large: "larger than 16 MiB",
    aliases: "the aliases of this file",
    pipe: "a named pipe",
    device: "a device",
    circle: "in a circle",
}


def test_after_every_kind_of_bad_content_the_next_good_one_is_in_force(gateway: Changing) -> None:
    """All in one gateway, which never stops looking."""
    gateway.start("blog")
    fresh = gateway.state.with_suffix(".new")
    for number, (spoil, words) in enumerate(BAD.items()):
        tunnels = ("blog", "mail") if number % 2 else ("blog", "wiki")
        spoil(fresh, gateway.text("blog"))
        fresh.replace(gateway.state)
        gateway.refuses(words)

        fresh.write_text(gateway.text(*tunnels))
        fresh.replace(gateway.state)
        gateway.becomes(*tunnels)


@contextmanager
def writing(programs: Programs, path: Path) -> Iterator[Callable[[str], None]]:
    """A shell's ``cat > file``, which empties the file, and then passes on what it is given."""
    with subprocess.Popen(
        [programs["sh"], "-c", 'exec cat > "$1"', "sh", str(path)], stdin=subprocess.PIPE, bufsize=0
    ) as shell:
        assert shell.stdin is not None
        pipe, written = shell.stdin, ""

        def write(text: str) -> None:
            """Returns when it is in the file."""
            nonlocal written
            pipe.write(text.encode())
            written += text
            while path.read_text() != written:
                pass

        yield write
        pipe.close()
        assert shell.wait() == 0


@pytest.mark.real_software("sh")
def test_a_file_that_is_rewritten_slowly_counts_when_it_is_whole(
    gateway: Changing, programs: Programs
) -> None:
    """Half of it is a valid state without the last tunnels, and is never in force."""
    gateway.state.write_text(gateway.text("blog", "mail", "wiki"))
    gateway.start("blog", "mail", "wiki")
    text = gateway.text("blog", "mail", "wiki", "chat")
    cut = text.index("  - name: mail")
    assert text.startswith(gateway.text("blog"))
    with writing(programs, gateway.state) as write:
        write(text[:cut])
        for _ in range(10):
            gateway.gateway.process.send_signal(signal.SIGHUP)
            status = anyio.run(fetch_status, gateway.gateway.socket_path)
            assert status.source.observed_generation == 1
        write(text[cut:])
    gateway.becomes("blog", "mail", "wiki", "chat")


def test_the_beginning_of_a_file_that_nobody_is_writing_any_more_is_refused_within_a_line(
    gateway: Changing,
) -> None:
    """As a copy that broke off, or a full disk, leaves it."""
    gateway.start("blog")
    with gateway.state.open("r+b") as file:
        file.truncate(gateway.state.stat().st_size - 3)
    gateway.refuses("half a copy")
    with gateway.state.open("a") as file:
        file.write("eb\n")
    gateway.mends()


def test_a_hangup_makes_it_look_and_a_bad_file_is_told_and_survived(gateway: Changing) -> None:
    gateway.start("blog")
    for _ in range(3):
        gateway.gateway.process.send_signal(signal.SIGHUP)
    gateway.state.write_text("tidegate: 1\n")
    gateway.gateway.process.send_signal(signal.SIGHUP)
    gateway.refuses('the section "gateway" is missing')
    gateway.state.write_text(gateway.text("blog", "mail"))
    gateway.gateway.process.send_signal(signal.SIGHUP)
    gateway.becomes("blog", "mail")


@pytest.mark.real_software("unshare")
def test_without_any_event_a_hangup_and_the_poll_find_what_has_changed(
    gateway: Changing, programs: Programs
) -> None:
    """A machine on which every inotify instance that one may have is in use."""
    limit = "/proc/sys/user/max_inotify_instances"
    unshare = (programs["unshare"], "--user", "--map-root-user")
    try:
        subprocess.run([*unshare, "true"], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        unavailable(f"no user namespaces: {error.stderr.decode().strip()}")
    gateway.start("blog", inside=(*unshare, "sh", "-c", f'echo 0 > {limit} && exec "$@"', "sh"))
    assert "look every 10 s" in gateway.gateway.wait_for("watch_failed")["reason"]

    gateway.state.write_text(gateway.text("blog", "mail"))
    gateway.gateway.process.send_signal(signal.SIGHUP)
    gateway.becomes("blog", "mail")
    gateway.state.write_text(gateway.text("blog", "wiki"))
    gateway.becomes("blog", "wiki")
