"""What a cell says of the several clients of a tunnel."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from agent.view.route_cell import doubt, route_cell
from schemas.status import Standing, TunnelClient, TunnelStatus
from tests.support.statuses import tunnel

SERVES, STANDS_BY, AWAY, DOUBTED = Standing.SERVES, Standing.STANDS_BY, Standing.AWAY, Standing.DOUBTED


def led(balance: str, *standings: Standing) -> TunnelStatus:
    """To as many clients, a, b and so on."""
    clients = tuple(
        TunnelClient(id=name, standing=standing, visitors=0)
        for name, standing in zip("abcdef", standings, strict=False)
    )
    serving = next((one.id for one in clients if one.standing is SERVES), None)
    changes = {"balance": balance, "clients": clients, "client": tuple(one.id for one in clients)}
    return tunnel("blog", service="web").model_copy(update={**changes, "serving_client": serving})


@pytest.mark.parametrize(
    ("balance", "standings", "told"),
    [
        ("preference", (SERVES, STANDS_BY), "a,b -> web"),
        ("preference", (AWAY, SERVES), "b,a -> web"),
        ("preference", (AWAY, AWAY), "a,b -> web"),
        ("round_robin", (SERVES, SERVES), "a+b -> web"),
        ("round_robin", (AWAY, SERVES), "(a)+b -> web"),
        ("least_connections", (SERVES, DOUBTED, SERVES), "a+(b)+c -> web"),
        ("least_connections", (AWAY, AWAY), "a+b -> web"),
    ],
)
def test_how_clients_are_joined_says_how_they_get_visitors_whoever_is_there(
    balance: str, standings: tuple[Standing, ...], told: str
) -> None:
    cell = route_cell(led(balance, *standings))

    assert cell.plain == told
    assert cell.text == told.replace(",", ", ").replace("->", "→")


@pytest.mark.parametrize("balance", ["preference", "round_robin"])
@pytest.mark.parametrize("width", range(1, 20))
def test_it_fits_into_what_room_there_is(balance: str, width: int) -> None:
    fit = route_cell(led(balance, *[SERVES] * 6)).fit

    assert fit is not None
    assert cell_len(fit(width)) <= width


def test_whoever_is_connected_and_does_not_serve_is_told() -> None:
    assert doubt(led("preference", SERVES, STANDS_BY)) == doubt(led("preference", AWAY, SERVES)) == ""
    assert doubt(led("preference", DOUBTED, SERVES)) == (
        "a is connected but has not served a visitor lately: the others are asked first for a while."
    )
    assert doubt(led("round_robin", DOUBTED, SERVES, DOUBTED)).startswith("a and c are connected but have")
