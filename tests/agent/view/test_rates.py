"""Bytes a second, from statuses that follow one another."""

from __future__ import annotations

from datetime import timedelta

from agent.view.rates import SOCKS5_PORT, Rate, RateMeter
from schemas.status import ClientAgentStatus, GatewayStatus, Socks5Status, Traffic
from tests.support import statuses


def at(seconds: float, **bytes_in: int) -> GatewayStatus:
    """The status of a gateway with these tunnels, so many seconds after it was started."""
    tunnels = [
        statuses.tunnel(name, traffic=Traffic(bytes_in=count, bytes_out=2 * count))
        for name, count in bytes_in.items()
    ]
    return statuses.gateway(*tunnels, now=statuses.NOW + timedelta(seconds=seconds))


def test_a_rate_is_what_was_carried_over_the_time_that_the_statuses_tell() -> None:
    meter = RateMeter()
    meter.measure(at(0, blog=1000))

    assert meter.measure(at(0.5, blog=1500)) == {"blog": Rate(bytes_in=1000, bytes_out=2000)}


def test_the_first_status_and_a_new_tunnel_have_no_rate_yet() -> None:
    meter = RateMeter()

    assert meter.measure(at(0, blog=1000)) == {"blog": Rate()}
    assert meter.measure(at(1, blog=1000, mail=10**6))["mail"] == Rate()


def test_a_rate_spans_two_seconds_of_the_live_table_and_forgets_what_was_before() -> None:
    meter = RateMeter()
    for half_seconds in range(6):
        meter.measure(at(half_seconds / 2, blog=10**6 if half_seconds else 0))

    assert meter.measure(at(3, blog=10**6)) == {"blog": Rate()}


def test_counters_that_begin_anew_are_no_negative_rate() -> None:
    meter = RateMeter()
    meter.measure(at(0, blog=1000))

    assert meter.measure(at(1, blog=10)) == {"blog": Rate()}


def test_an_agent_that_was_started_anew_is_measured_anew() -> None:
    meter = RateMeter()
    meter.measure(at(0, blog=1000))
    restarted = at(1, blog=2000).model_copy(update={"started_at": statuses.NOW})

    assert meter.measure(restarted) == {"blog": Rate()}


def test_the_same_moment_twice_divides_by_nothing() -> None:
    meter = RateMeter()
    meter.measure(at(0, blog=1000))

    assert meter.measure(at(0, blog=2000)) == {"blog": Rate()}


def test_a_client_is_measured_by_its_services() -> None:
    meter = RateMeter()
    first: ClientAgentStatus = statuses.client()
    meter.measure(first)

    assert meter.measure(first).keys() == {"smtp", "web"}


def test_a_client_is_measured_by_its_socks5_port_as_well() -> None:
    def later(seconds: float, bytes_in: int) -> ClientAgentStatus:
        port = Socks5Status(
            listen="127.0.0.1:1080", user=None, last_error=None, traffic=Traffic(bytes_in=bytes_in)
        )
        now = statuses.NOW + timedelta(seconds=seconds)
        return statuses.client().model_copy(update={"now": now, "socks5": port})

    meter = RateMeter()
    meter.measure(later(0, 0))

    assert meter.measure(later(2, 500))[SOCKS5_PORT] == Rate(bytes_in=250.0)
