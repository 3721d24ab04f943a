"""What iperf3 3.12 prints with -J, and what is read from it."""

from __future__ import annotations

import json
from typing import Final

import pytest

from .iperf import IperfBusyError, IperfError, Way, iperf_command, parse_iperf

# Without "start", "intervals" and what each stream did, of which nothing is read.
GOOD: Final = """{
    "end": {
        "sum_sent": {
            "start": 0, "end": 1.000346, "seconds": 1.000346, "bytes": 2536112128,
            "bits_per_second": 20281879493.695183, "retransmits": 1, "sender": true
        },
        "sum_received": {
            "start": 0, "end": 1.000792, "seconds": 1.000792, "bytes": 2536000000,
            "bits_per_second": 20272840933.98029, "sender": true
        }
    }
}"""
REFUSED: Final = """{
	"start":	{
		"connected":	[],
		"version":	"iperf 3.12"
	},
	"intervals":	[],
	"end":	{
	},
	"error":	"unable to connect to server: Connection refused"
}
"""
BUSY: Final = REFUSED.replace(
    "unable to connect to server: Connection refused", "the server is busy running a test. try again later"
)


def test_what_the_receiving_end_took_is_what_counts() -> None:
    result = parse_iperf(GOOD)

    assert (result.received, result.bits_per_second) == (2536000000, 20272840933.98029)


def test_what_came_before_the_time_that_counts_is_told_apart() -> None:
    intervals = [
        {"sum": {"seconds": 1.0, "bytes": 1_000_000, "omitted": True}},
        {"sum": {"seconds": 1.0, "bytes": 3_000_000, "omitted": True}},
        {"sum": {"seconds": 1.0, "bytes": 50_000_000, "omitted": False}},
    ]

    result = parse_iperf(json.dumps({**json.loads(GOOD), "intervals": intervals}))

    assert (result.beginning, result.received) == (16_000_000, 2536000000)
    assert parse_iperf(GOOD).beginning is None


def test_its_error_is_told_in_its_words() -> None:
    with pytest.raises(IperfError, match="Connection refused"):
        parse_iperf(REFUSED)


def test_a_busy_server_is_told_from_other_errors() -> None:
    with pytest.raises(IperfBusyError):
        parse_iperf(BUSY)


def test_a_measurement_of_nothing_is_none() -> None:
    with pytest.raises(IperfError, match="not one byte"):
        parse_iperf(GOOD.replace("2536000000", "0"))


@pytest.mark.parametrize("printed", ["", "iperf3: not found", "[]", "{}", '{"end": {}}', "null"])
def test_what_holds_no_result_is_an_error(printed: str) -> None:
    with pytest.raises(IperfError):
        parse_iperf(printed)


def test_only_a_download_is_reversed() -> None:
    commands = {way: iperf_command("iperf3", "127.0.0.1:5201", way, seconds=2) for way in Way}

    assert [way for way, command in commands.items() if "-R" in command] == [Way.DOWNLOAD]
