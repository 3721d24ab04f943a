"""Runs an agent as ever, and tells on SIGUSR1 what lives in it.

Rule: nothing here is in the agent's way until it is asked, and what it tells is counted by the garbage
collector, not by the agent.

``python watched.py FILE python -m agent gateway STATE …`` is ``python -m agent gateway STATE …``, and at each
SIGUSR1 writes FILE: ``counts`` is how many objects of each class there are behind a full
collection, ``tasks`` which tasks are not done, ``connections`` what the relays and streams look like inside.
"""

from __future__ import annotations

import gc
import json
import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

_SHOWN = 60  # connections; whoever reads more learns nothing more
_SHOWN_CLASSES = ("Relay", "MuxStream", "Link", "Offer")


class Watch:
    """Tells what lives, whenever it is asked."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, number: int, frame: FrameType | None) -> None:
        gc.collect()
        gc.collect()  # what a finalizer let go in the first
        # A loop keeps a timer that was cancelled until it would have been due; nothing hangs on it any more.
        living = [one for one in gc.get_objects() if not _is_cancelled_timer(one)]
        told = {
            "counts": Counter(_class_name(one) for one in living),
            "tasks": sorted(_task_name(one) for one in living if _is_open_task(one)),
            "connections": [_inside(one) for one in living if type(one).__name__ in _SHOWN_CLASSES][:_SHOWN],
        }
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(told))
        fresh.replace(self._path)


def _class_name(one: object) -> str:
    kind = type(one)
    return f"{kind.__module__}.{kind.__qualname__}"


def _is_cancelled_timer(one: Any) -> bool:
    return _class_name(one) == "asyncio.events.TimerHandle" and bool(one.cancelled())


def _is_open_task(one: Any) -> bool:
    """Whether that is a task of any loop that is not done; known by its name, as is a timer above."""
    return _class_name(one) in ("_asyncio.Task", "asyncio.tasks.Task") and not one.done()


def _task_name(task: Any) -> str:
    coroutine = task.get_coro()
    return str(getattr(coroutine, "__qualname__", coroutine))


def _inside(one: Any) -> str:
    names = getattr(type(one), "__slots__", None) or vars(one)
    values = (f"{name.lstrip('_')}={getattr(one, name, '?')!r:.80}" for name in names)
    return f"{type(one).__name__} {' '.join(values)}"


def main() -> None:
    """Become the agent."""
    _, path, _python, _dash_m, module, *arguments = sys.argv
    signal.signal(signal.SIGUSR1, Watch(Path(path)))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
