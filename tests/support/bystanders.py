"""Visitors who have nothing to do with what goes wrong elsewhere, and must not notice it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.downloads import Download

MEGABYTES = 8  # of the download_server that they visit
_GLANCE = 64 << 10


class Bystanders:
    """A download that is under way, and newcomers whenever the test asks."""

    def __init__(self, listen: str, under_way: Download) -> None:
        self._listen = listen
        self._under_way = under_way

    def assert_undisturbed(self) -> None:
        """The download goes on, and a newcomer is served."""
        self._under_way.read(_GLANCE)
        with Download(self._listen, megabytes=MEGABYTES) as newcomer:
            newcomer.finish()


@contextmanager
def bystanders(listen: str) -> Iterator[Bystanders]:
    """Have a download under way for the length of the block. It must come to its end whole.

    :param listen: a tunnel to a ``download_server`` of ``MEGABYTES``.
    """
    with Download(listen, megabytes=MEGABYTES) as under_way:
        under_way.read(_GLANCE)
        around = Bystanders(listen, under_way)
        yield around
        around.assert_undisturbed()
        under_way.finish()
