"""A stream that nobody has taken yet is heard by nobody, whatever happens to it."""

from __future__ import annotations

from tests.support.mux_pair import End, data_frame, window_frame
from transport.wire.frames import FIN, RST, SYN
from transport.wire.mux import MuxStream, Role, StreamSink
from transport.wire.stream_sink import NOBODY


def test_nobody_hears_everything_and_says_nothing() -> None:
    class Owner(End):
        def stream_offered(self, stream: MuxStream) -> StreamSink | None:
            assert stream.sink is NOBODY
            return NOBODY

    end = Owner(Role.SERVER)
    end.receive(data_frame(1, b"data", SYN) + window_frame(1, 10, FIN) + window_frame(1, 0, RST))
    NOBODY.acknowledged()
    NOBODY.credit()

    assert end.mux.streams == {}
    assert end.written() == []
