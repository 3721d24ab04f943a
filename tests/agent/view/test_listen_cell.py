"""The addresses of a tunnel, whole and in less room."""

from __future__ import annotations

import pytest

from agent.view.listen_cell import listen_cell


@pytest.mark.parametrize(
    ("listen", "text", "plain"),
    [
        (["127.0.0.1:8080"], "127.0.0.1:8080", "127.0.0.1:8080"),
        (["0.0.0.0:443", "[::]:443"], ":443", ":443"),
        (["0.0.0.0:443", "[::]:80"], "0.0.0.0:443, [::]:80", "0.0.0.0:443,[::]:80"),
        (["\x1b[2J:1"], "\\x1b[2J:1", "\\x1b[2J:1"),
    ],
)
def test_both_wildcards_of_a_port_are_one_address(listen: list[str], text: str, plain: str) -> None:
    cell = listen_cell(listen)

    assert (cell.text, cell.plain) == (text, plain)


@pytest.mark.parametrize(
    ("listen", "width", "fitted"),
    [
        (["127.0.0.1:22443"], 15, "127.0.0.1:22443"),
        (["127.0.0.1:22443"], 12, "127.0…:22443"),
        (["127.0.0.1:22443", "127.0.0.2:80"], 15, "127.0…:22443 +1"),
        (["127.0.0.1:22443"], 4, "12…3"),
    ],
)
def test_the_port_is_what_is_left_where_there_is_no_room(listen: list[str], width: int, fitted: str) -> None:
    assert listen_cell(listen).fitted(width) == fitted
