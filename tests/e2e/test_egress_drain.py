"""A gateway that is told to stop lets what it has dialed for its clients finish, and dials nothing more."""

from __future__ import annotations

import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.egress_by_hand import Asker
from tests.support.site import PATIENCE, own_address, site
from tests.support.yamux_peer import DATA, FIN, RST, data, hostile_client


def test_what_is_open_may_finish_and_nothing_new_is_dialed(tmp_path: Path, loop: Sequence[str]) -> None:
    mail = own_address()
    with site(tmp_path, options=loop) as place, socket.create_server((mail, 0)) as server:
        server.settimeout(PATIENCE)
        port = server.getsockname()[1]
        rules = {"allow": [{"client": "homelab", "to": "127.0.0.0/8", "ports": port}]}
        gateway = place.start("gateway", place.gateway_file([], egress=rules, drain="600s", allow_empty=True))
        with hostile_client(place, "homelab") as peer:
            asker = Asker(peer)
            stream = asker.ask(mail, port)
            assert asker.outcome(stream) == ("accepted", "")
            gateway.process.send_signal(signal.SIGTERM)
            gateway.wait_for("drain_began", open=1)

            assert asker.asks(mail, port) == ("other", "the gateway is stopping; ask another one")
            end, _ = server.accept()
            with end:
                end.sendall(b"the last bytes")
                said = peer.until(lambda said: said.stream == stream and said.kind == DATA)
                assert said.payload == b"the last bytes"
            peer.say(data(stream, b"", FIN))
            gateway.wait_for("egress_closed", end="done", bytes_in=14)
            gateway.wait_for("drain_ended", dropped=0)
        assert gateway.process.wait(PATIENCE) == 0


def test_what_does_not_finish_is_cut_at_the_limit(tmp_path: Path) -> None:
    mail = own_address()
    with site(tmp_path) as place, socket.create_server((mail, 0)) as server:
        server.settimeout(PATIENCE)
        port = server.getsockname()[1]
        rules = {"allow": [{"client": "homelab", "to": mail, "ports": "*"}]}
        gateway = place.start("gateway", place.gateway_file([], egress=rules, drain="50ms", allow_empty=True))
        with hostile_client(place, "homelab") as peer:
            assert Asker(peer).asks(mail, port) == ("accepted", "")
            end, _ = server.accept()
            gateway.process.send_signal(signal.SIGTERM)
            assert [said.stream for said in peer.frames() if said.flags & RST] == [3]
        gateway.wait_for("drain_ended", dropped=1)
        assert gateway.process.wait(PATIENCE) == 0
        with end:
            end.settimeout(PATIENCE)
            with pytest.raises(ConnectionResetError):
                end.recv(1)
