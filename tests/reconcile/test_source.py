"""Where desired state comes from: real files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from reconcile import source as source_module
from reconcile.declared import DeclaredFile
from reconcile.reading import StateText, take_snapshot
from reconcile.source import NOTHING_LOADED, FileSource, Loaded
from reconcile.state_reader import StateReader
from schemas.roles import Role
from schemas.state import ClientState, GatewayState, State

from .settled import load_settled

pytestmark = pytest.mark.anyio

HEAD = """\
tidegate: 1
gateway:
  tls: {cert: gw.crt, key: gw.key, client_ca: ca.crt}
"""


def text(*tunnels: str, head: str = HEAD) -> str:
    """A gateway's file with those tunnels, each on a port of its own."""
    entries = (
        f'  - name: {name}\n    listen: "0.0.0.0:{1000 + ord(name[0])}"\n'
        "    client: homelab\n    service: web\n"
        for name in tunnels
    )
    return head + ("tunnels:\n" + "".join(entries) if tunnels else "")


def save(file: Path, content: str) -> None:
    file.write_text(content)


def names(loaded: Loaded) -> list[str]:
    assert isinstance(loaded.state, GatewayState)
    return [tunnel.name for tunnel in loaded.state.tunnels]


def problem(loaded: Loaded) -> str:
    (found,) = loaded.problems
    return str(found)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gw.yaml"
    save(path, text("blog", "mail"))
    return path


@pytest.fixture
def source(file: Path) -> FileSource:
    return FileSource(file, role=Role.GATEWAY)


async def test_the_first_accepted_state_is_generation_one(source: FileSource) -> None:
    loaded = await source.load()

    assert (loaded.generation, loaded.fresh, loaded.problems) == (1, True, ())
    assert names(loaded) == ["blog", "mail"]
    assert len(loaded.digest) == 64


async def test_the_same_content_is_the_same_generation_and_is_not_parsed_again(
    source: FileSource, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await source.load()
    monkeypatch.delattr(StateReader, "read")
    os.utime(file, (1, 1))
    second = await source.load()

    assert (second.generation, second.fresh, second.digest) == (1, False, first.digest)
    assert second.state is first.state


async def test_other_content_is_another_generation_also_when_it_was_seen_before(
    source: FileSource, file: Path
) -> None:
    generations = []
    for content in (text("blog"), text("mail"), text("blog")):
        save(file, content)
        generations.append((await source.load()).generation)

    assert generations == [1, 2, 3]


async def test_without_any_good_reading_there_is_no_state(tmp_path: Path) -> None:
    source = FileSource(tmp_path / "gw.yaml", role=Role.GATEWAY)

    loaded = await source.load()

    assert (loaded.generation, loaded.state, loaded.digest, loaded.fresh) == (0, None, "", False)
    assert problem(loaded) == f"{tmp_path}/gw.yaml:1:1: there is no such file; create it or correct the path"
    assert NOTHING_LOADED.state is None


async def test_a_broken_file_keeps_the_last_good_state_and_tells_its_problems_until_it_is_mended(
    source: FileSource, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = await source.load()
    save(file, text("blog") + "    colour: green\n")
    broken = await source.load()
    with monkeypatch.context() as patch:
        patch.delattr(StateReader, "read")  # so that judging it twice would fail
        again = await source.load()
    save(file, text("blog", "mail"))
    mended = await source.load()

    assert (broken.generation, broken.state, broken.digest) == (1, good.state, good.digest)
    assert problem(broken).startswith(f"{file}:9:5: ")
    assert again.problems == broken.problems
    assert (mended.generation, mended.problems, mended.fresh) == (1, (), False)


async def test_every_problem_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    save(tmp_path / "a.yaml", "tidegate: 1\ngateway: [\n")
    save(tmp_path / "b.toml", "tidegate = = 1\n")

    loaded = await FileSource(tmp_path, role=Role.GATEWAY).load()

    assert {found.place.file for found in loaded.problems if found.place} == {
        str(tmp_path / "a.yaml"),
        str(tmp_path / "b.toml"),
    }


def remove(file: Path) -> None:
    file.unlink()


def replace_by_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def replace_by_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def cut_in_a_line(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-2])


def remove_every_tunnel(file: Path) -> None:
    save(file, text())


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("accident", "words"),
    [
        (remove, "no such file"),
        (replace_by_directory, "holds no state files"),
        (replace_by_fifo, "a named pipe"),
        (empty, "the file holds no state"),
        (cut_in_a_line, "stops in the middle of a line"),
        (remove_every_tunnel, "removes all of its 2 tunnels"),
    ],
)
async def test_an_accident_keeps_the_last_good_state(
    source: FileSource, file: Path, accident: Callable[[Path], None], words: str
) -> None:
    good = await source.load()
    accident(file)
    after = await load_settled(source)

    assert (after.generation, after.state, after.fresh) == (1, good.state, False)
    assert words in problem(after)


async def test_a_moment_without_the_file_is_not_told_and_a_longer_one_is(
    source: FileSource, file: Path
) -> None:
    await source.load()
    remove(file)
    gone = await source.load()
    save(file, text("blog", "mail"))
    back = await load_settled(source)
    remove(file)
    lost = await load_settled(source)

    assert (gone.problems, gone.unsettled is not None, names(gone)) == ((), True, ["blog", "mail"])
    assert (back.problems, back.generation) == ((), 1)
    assert "no such file" in problem(lost)
    assert "no such file" in problem(await source.load())  # from now on at once


async def test_a_cut_that_is_still_valid_is_refused(source: FileSource, file: Path) -> None:
    await source.load()
    # "service: web" has become "service: we", which nobody would notice.
    cut_in_a_line(file)

    assert names(await FileSource(file, role=Role.GATEWAY).load()) == ["blog", "mail"]
    assert "half a copy" in problem(await source.load())


async def test_the_word_that_says_it_is_meant_lets_every_guard_pass(source: FileSource, file: Path) -> None:
    await source.load()
    save(file, text(head="allow_empty: true\n" + HEAD))

    loaded = await source.load()

    assert (loaded.generation, loaded.problems, names(loaded)) == (2, (), [])


async def test_a_cut_passes_too_where_the_file_says_that_less_is_meant(
    source: FileSource, file: Path
) -> None:
    save(file, text("blog", head="allow_empty: true\n" + HEAD))
    await source.load()
    cut_in_a_line(file)

    assert (await source.load()).generation == 2


async def test_a_refused_state_is_refused_again_until_it_changes(source: FileSource, file: Path) -> None:
    await source.load()
    save(file, text())
    first, second = await source.load(), await source.load()

    assert first == second
    save(file, text("mail"))
    assert (await source.load()).generation == 2


async def test_fragments_are_one_state_and_one_generation(tmp_path: Path) -> None:
    save(tmp_path / "00-gateway.yaml", text())
    save(tmp_path / "10-blog.yaml", text("blog", head="tidegate: 1\n"))
    source = FileSource(tmp_path, role=Role.GATEWAY)
    assert names(await source.load()) == ["blog"]

    save(tmp_path / "20-mail.yaml", text("mail", head="tidegate: 1\n"))
    loaded = await source.load()
    assert (loaded.generation, names(loaded)) == (2, ["blog", "mail"])

    (tmp_path / "10-blog.yaml").unlink()
    loaded = await load_settled(source)
    assert (loaded.generation, names(loaded)) == (3, ["mail"])


async def test_a_name_that_is_declared_in_two_fragments_is_refused_with_both_places(tmp_path: Path) -> None:
    save(tmp_path / "a.yaml", text("blog"))
    save(tmp_path / "b.yaml", text("blog", head="tidegate: 1\n"))

    loaded = await FileSource(tmp_path, role=Role.GATEWAY).load()

    assert loaded.state is None
    assert any(
        found.place
        and found.see
        and {Path(found.place.file).name, Path(found.see.file).name} == {"a.yaml", "b.yaml"}
        for found in loaded.problems
    )


OWNED = b"""\
tidegate = 1
[[tunnels]]
name = "wiki"
listen = "0.0.0.0:8443"
client = "homelab"
service = "web"
declared_by = "homelab"
"""


async def test_what_was_declared_through_the_api_is_merged_and_counts_as_a_generation(
    file: Path, tmp_path: Path
) -> None:
    declared = DeclaredFile(tmp_path / "declared.toml")
    source = FileSource(file, role=Role.GATEWAY, owned=declared.path)
    assert names(await source.load()) == ["blog", "mail"]

    declared.replace(OWNED)
    loaded = await source.load()
    assert (loaded.generation, names(loaded)) == (2, ["blog", "mail", "wiki"])

    declared.replace(None)
    loaded = await source.load()
    assert (loaded.generation, names(loaded)) == (3, ["blog", "mail"])


async def test_the_owned_fragment_is_replaced_whole_and_never_taken_for_half_a_copy(
    file: Path, tmp_path: Path
) -> None:
    declared = DeclaredFile(tmp_path / "declared.toml")
    source = FileSource(file, role=Role.GATEWAY, owned=declared.path)
    declared.replace(OWNED + b"# the end")
    await source.load()
    declared.replace(OWNED + b"# the")

    assert (await source.load()).generation == 2


async def test_the_api_may_take_away_the_last_tunnel_and_the_file_may_not(tmp_path: Path) -> None:
    file, declared = tmp_path / "gw.yaml", DeclaredFile(tmp_path / "declared.toml")
    save(file, text())
    declared.replace(OWNED)
    source = FileSource(file, role=Role.GATEWAY, owned=declared.path)
    assert names(await source.load()) == ["wiki"]

    declared.replace(None)
    assert names(await source.load()) == []


async def test_a_client_reads_its_own_kind_of_file(tmp_path: Path) -> None:
    file = tmp_path / "client.yaml"
    save(
        file,
        'tidegate: 1\nclient:\n  id: homelab\n  gateways: ["gw1:9056"]\n'
        '  tls: {cert: a.crt, key: a.key, ca: ca.crt}\nservices:\n  web: "127.0.0.1:80"\n',
    )

    assert isinstance((await FileSource(file, role=Role.CLIENT).load()).state, ClientState)
    wrong = await FileSource(file, role=Role.GATEWAY).load()
    assert wrong.state is None
    assert wrong.problems


def test_the_directories_of_a_file_its_links_and_the_owned_fragment_are_watched(tmp_path: Path) -> None:
    top = tmp_path.resolve()
    (top / "..1").mkdir()
    (top / "..data").symlink_to("..1")
    (top / "gw.yaml").symlink_to("..data/gw.yaml")
    source = FileSource(top / "gw.yaml", role=Role.GATEWAY, owned=top / "data" / "declared.toml")

    assert source.watch_directories() == {top, top / "..1", top / "data"}


def test_the_directory_of_fragments_and_those_of_their_links_are_watched(tmp_path: Path) -> None:
    top = tmp_path.resolve()
    for name in ("states", "elsewhere"):
        (top / name).mkdir()
    (top / "elsewhere" / "x").touch()
    (top / "states" / "a.yaml").symlink_to(top / "elsewhere" / "x")

    assert FileSource(top / "states", role=Role.GATEWAY).watch_directories() == {
        top,
        top / "states",
        top / "elsewhere",
    }


def test_a_directory_that_is_still_empty_is_watched(tmp_path: Path) -> None:
    top = tmp_path.resolve()
    (top / "states").mkdir()

    assert FileSource(top / "states", role=Role.GATEWAY).watch_directories() == {top, top / "states"}


async def test_other_texts_can_be_considered_and_change_nothing(source: FileSource, file: Path) -> None:
    def considered(content: str) -> StateText:
        return StateText(name="new.yaml", directory=str(file.parent), data=content.encode())

    accepted = await source.load()
    refused = await source.consider([considered("tidegate: 1\n")])
    assert refused.state is None
    assert [found.place.file for found in refused.problems if found.place] == ["new.yaml"]
    wished = await source.consider([considered(text("blog", "shop"))])
    assert wished.problems == ()
    assert isinstance(wished.state, GatewayState)
    assert [tunnel.name for tunnel in wished.state.tunnels] == ["blog", "shop"]
    assert await source.load() == replace(accepted, fresh=False)


async def test_what_would_be_guarded_against_is_so_when_it_is_considered(source: FileSource) -> None:
    await source.load()
    nothing = StateText(name="new.yaml", directory="", data=text().encode())
    assert (await source.consider([nothing])).state is None


async def test_the_history_says_which_generation_was_accepted(file: Path) -> None:
    class FromForty:
        def __init__(self) -> None:
            self.kept: list[bytes] = []

        def keep(self, texts: Sequence[StateText], state: State) -> int:
            self.kept.append(b"".join(text.data for text in texts))
            return 39 + len(self.kept)

    history = FromForty()
    source = FileSource(file, role=Role.GATEWAY, history=history)
    assert (await source.load()).generation == 40
    save(file, "tunnels: [")
    assert (await source.load()).generation == 40
    save(file, text("shop"))
    assert (await source.load()).generation == 41
    assert history.kept == [text("blog", "mail").encode(), text("shop").encode()]


async def test_what_somebody_wants_is_not_taken_for_an_accident(source: FileSource, file: Path) -> None:
    await source.load()
    nothing = StateText(name=str(file), directory=str(file.parent), data=text().encode())
    save(file, text())
    assert (await source.load()).generation == 1
    source.excuse([nothing])
    assert (await source.load()).generation == 2
    save(file, text("blog"))
    assert (await source.load()).generation == 3
    save(file, text("blog")[:-9])
    assert [problem.message for problem in (await source.load()).problems] != []


async def test_what_was_put_in_place_on_purpose_need_not_settle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in (("00.yaml", text("blog")), ("10.yaml", text("mail", head="tidegate: 1\n"))):
        save(tmp_path / name, content)
    source = FileSource(tmp_path, role=Role.GATEWAY)
    await source.load()
    remove(tmp_path / "10.yaml")
    source.excuse(take_snapshot(tmp_path).texts)
    monkeypatch.delattr(source_module, "settle")  # so that settling would fail

    assert names(await source.load()) == ["blog"]
