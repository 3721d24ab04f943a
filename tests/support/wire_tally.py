"""What has passed a point of a link, counted frame by frame and stream by stream.

Rule: it reads headers by itself, so that a mux's books can be held against what was really said.
"""

from __future__ import annotations

import struct
from collections import Counter
from typing import Final

_HEADER: Final = struct.Struct("!BBHII")
_DATA, _WINDOW_UPDATE = 0, 1


class Tally:
    """Counts payload and credit of each stream. A frame counts as soon as its header has passed."""

    def __init__(self) -> None:
        self.payload: Counter[int] = Counter()
        self.credit: Counter[int] = Counter()
        self._header = bytearray()
        self._left = 0  # of the payload that is passing

    def copy(self) -> Tally:
        """One that goes on from here by itself."""
        other = Tally()
        other.payload, other.credit = self.payload.copy(), self.credit.copy()
        other._header, other._left = self._header.copy(), self._left
        return other

    def pass_by(self, data: bytes) -> None:
        position = 0
        while position < len(data):
            if self._left:
                step = min(self._left, len(data) - position)
                self._left -= step
                position += step
                continue
            step = min(_HEADER.size - len(self._header), len(data) - position)
            self._header += data[position : position + step]
            position += step
            if len(self._header) < _HEADER.size:
                return
            _, kind, _, stream_id, length = _HEADER.unpack(self._header)
            self._header.clear()
            if kind == _DATA:
                self.payload[stream_id] += length
                self._left = length
            elif kind == _WINDOW_UPDATE:
                self.credit[stream_id] += length
