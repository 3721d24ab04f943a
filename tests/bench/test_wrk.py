"""What wrk 4.1 prints, and what is read from it."""

from __future__ import annotations

from typing import Final

import pytest

from .wrk import WrkError, parse_wrk, wrk_command

GOOD: Final = """\
Running 1s test @ http://127.0.0.1:8123/1k
  1 threads and 5 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.69ms    2.99ms  26.31ms   87.48%
    Req/Sec     2.45k   405.72     2.99k    70.00%
  Latency Distribution
     50%    1.31ms
     75%    3.37ms
     90%    6.38ms
     99%   14.13ms
  2438 requests in 1.00s, 2.85MB read
Requests/sec:   2437.74
Transfer/sec:      2.85MB
"""
NOT_FOUND: Final = """\
Running 1s test @ http://127.0.0.1:8123/none
  1 threads and 5 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.09ms    2.08ms  16.42ms   86.79%
    Req/Sec     2.24k   823.63     3.56k    70.00%
  Latency Distribution
     50%    1.15ms
     75%    2.48ms
     90%    4.75ms
     99%   10.26ms
  2232 requests in 1.00s, 1.11MB read
  Non-2xx or 3xx responses: 2232
Requests/sec:   2228.82
Transfer/sec:      1.11MB
"""
BROKEN: Final = GOOD.replace(
    "MB read\nRequests", "MB read\n  Socket errors: connect 0, read 17, write 0, timeout 3\nRequests"
)


def test_the_rate_the_count_and_the_latencies_are_read() -> None:
    result = parse_wrk(GOOD)

    assert (result.rate, result.requests, result.average) == (2437.74, 2438, 2.69)
    assert result.percentiles == {50: 1.31, 75: 3.37, 90: 6.38, 99: 14.13}
    assert result.socket_errors == {}


@pytest.mark.parametrize(
    ("printed", "milliseconds"), [("87.00us", 0.087), ("1.25s", 1250.0), ("0.50m", 30_000.0)]
)
def test_every_unit_of_time_becomes_milliseconds(printed: str, milliseconds: float) -> None:
    result = parse_wrk(GOOD.replace("1.31ms", printed))

    assert result.percentiles[50] == pytest.approx(milliseconds)


def test_connections_that_broke_are_counted_by_kind() -> None:
    assert parse_wrk(BROKEN).socket_errors == {"read": 17, "timeout": 3}


def test_a_load_of_refused_requests_is_no_measurement() -> None:
    with pytest.raises(WrkError, match="2232 of 2232"):
        parse_wrk(NOT_FOUND)


def test_a_load_without_an_answer_is_no_measurement() -> None:
    with pytest.raises(WrkError, match="not one"):
        parse_wrk(GOOD.replace("2438 requests", "0 requests"))


@pytest.mark.parametrize(
    "printed", ["", "unable to connect to 127.0.0.1:1 Connection refused\n", GOOD.split("Latency D")[0]]
)
def test_what_holds_no_result_is_quoted_in_the_error(printed: str) -> None:
    with pytest.raises(WrkError, match=r"Connection refused|printed nothing|Running"):
        parse_wrk(printed)


def test_without_keep_alive_every_request_asks_for_the_end_of_its_connection() -> None:
    kept = wrk_command("wrk", "http://127.0.0.1:1/", connections=5, seconds=3)
    closed = wrk_command("wrk", "http://127.0.0.1:1/", connections=5, seconds=3, keep_alive=False)

    assert [word for word in closed if word not in kept] == ["-H", "Connection: close"]
