"""What a client's status shows of the tunnels that its own file declares."""

from __future__ import annotations

from agent.view.own_tunnels import own_tunnels, tunnels_in_force
from agent.view.status import StatusView
from schemas.status import OwnTunnelStatus
from tests.support import statuses

BLOG = OwnTunnelStatus(
    gateway="gw1.example.com:9056",
    name="blog",
    listen=("0.0.0.0:443", "[::]:443"),
    hostname=(),
    service="web",
    in_force=True,
    message="",
)
SHOP = BLOG.model_copy(
    update={"name": "shop", "in_force": False, "message": "0.0.0.0:444 is a port of office"}
)


def page(*tunnels: OwnTunnelStatus, width: int | None = None, height: int | None = None) -> list[str]:
    status = statuses.client().model_copy(update={"tunnels": tunnels})
    return [line.plain for line in StatusView(status=status).lines(width=width, height=height)]


def test_a_client_without_tunnels_of_its_own_shows_nothing_of_them() -> None:
    assert own_tunnels(statuses.client()) == ()
    assert tunnels_in_force(statuses.client()) == ""
    assert "OWN TUNNEL" not in "\n".join(page(width=100))


def test_each_tunnel_is_a_row_and_what_is_wrong_is_told() -> None:
    for width in (None, 100):
        text = "\n".join(page(BLOG, SHOP, width=width))

        assert "OWN TUNNEL" in text
        assert "0.0.0.0:444 is a port of office" in text
        assert "1 of 2 own tunnels in force" in text


def test_for_a_pipe_each_tunnel_is_one_line() -> None:
    (line,) = [line for line in page(BLOG, SHOP) if line.startswith("shop")]

    assert line.split() == [
        *("shop", "gw1.example.com:9056", ":443", "web", "not", "in", "force"),
        *("0.0.0.0:444", "is", "a", "port", "of", "office"),
    ]


def test_where_all_are_in_force_the_headline_says_nothing_of_it() -> None:
    assert tunnels_in_force(statuses.client().model_copy(update={"tunnels": (BLOG,)})) == ""


def test_on_a_full_screen_the_headline_tells_what_the_table_has_no_room_for() -> None:
    lines = page(BLOG, SHOP, width=80, height=14)

    assert len(lines) == 14
    assert "1 of 2 own tunnels in force" in lines[0]
    assert "OWN TUNNEL" not in "\n".join(lines)


def test_on_a_screen_with_room_for_it_the_table_is_there_with_its_troubles() -> None:
    lines = page(BLOG, SHOP, width=80, height=24)

    assert len(lines) == 24
    assert [line.split()[0] for line in lines if line.startswith(("OWN", "blog", "shop "))] == [
        *("OWN", "blog", "shop")
    ]
    assert "shop: 0.0.0.0:444 is a port of office" in lines


def test_a_hostile_gateways_words_are_printable() -> None:
    evil = SHOP.model_copy(update={"message": "\x1b[2J"})

    assert all("\x1b" not in line for line in page(evil, width=80))
