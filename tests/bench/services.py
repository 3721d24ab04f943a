"""What stands behind every system: nginx with a page and a file without an end, and iperf3.

Rule: all systems lead to the same processes, so that none of them has a better service than another.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.daemons import nginx
from tests.support.site import free_ports, own_address

from .processes import running, wait_listening
from .systems import PAGE, WEB, Services, path_of

BULK: Final = "iperf"
ENDLESS: Final = "/endless"
_ENDLESS_SIZE: Final = 1 << 40  # all of it a hole: it takes no room on the disk


@contextmanager
def services(directory: Path) -> Iterator[Services]:
    address = own_address()
    bulk = f"{address}:{next(free_ports(address))}"
    site = directory / "site"
    site.mkdir()
    (site / PAGE.strip("/")).write_bytes(b"x" * 1024)
    with (site / ENDLESS.strip("/")).open("wb") as file:
        file.truncate(_ENDLESS_SIZE)
    # As many requests on one connection as the load generator likes: nginx closes after 1,000 by default.
    server = f"root {site}; keepalive_requests 1000000000;"
    with (
        nginx(path_of("nginx"), directory, server, at=address) as web,
        running(
            "iperf3", [path_of("iperf3"), "-s", "-B", address, "-p", bulk.rpartition(":")[2]], directory
        ) as peer,
    ):
        wait_listening(bulk, peer)
        yield {WEB: web, BULK: bulk}
