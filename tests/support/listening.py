"""Which sockets of this machine listen: what the kernel says, not what an agent says."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp, see proc(5)


def listening_inodes(address: str) -> dict[int, int]:
    """Port -> inode of every socket that listens at that IPv4 address."""
    (number,) = struct.unpack("=I", socket.inet_aton(address))
    found: dict[int, int] = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        host, _, port = fields[1].partition(":")
        if fields[3] == _LISTEN and int(host, 16) == number:
            found[int(port, 16)] = int(fields[9])
    return found
