"""The kinds of workers that there are, and what is lost with each."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from app.cpu.generation import Generation
from app.cpu.processes import Processes
from app.cpu.settings import Executor, PoolSettings
from app.cpu.threads import Interpreters, Threads

LOST: Mapping[str, str] = {
    "crash": "A library that crashes ends the service; its items run again at the next start.",
    "kill": "Nothing ends work that never tells of its progress: past its deadline and "
    "OFFLOAD_POOL_KILL_GRACE_S the item is failed, and its thread is lost until it ends.",
    "memory": "OFFLOAD_POOL_MEMORY_BYTES bounds nothing.",
    "file_size": "No kernel ends a file at OFFLOAD_ITEM_MAX_OUTPUT_BYTES: the operations' own "
    "counting does, and a look when a step has ended.",
    "environment": "Operations see the service's environment variables.",
    "recycling": "OFFLOAD_POOL_RECYCLE_AFTER replaces nothing.",
    "pictures": "Pictures run one at a time: libvips has one place for its messages.",
    "event_loop": "Work in Python holds up the event loop, and with it every request.",
}
"""What processes isolate and threads do not, by a name, with what follows."""

_GIL_ONLY = "event_loop"
_OF_ONE_INTERPRETER = ("event_loop", "pictures")


def generation_of(settings: PoolSettings) -> Generation:
    """Make new workers, of the kind that is asked for; they start with `start`."""
    workers = settings.worker_count
    if settings.executor == "thread":
        return Threads(workers)
    if settings.executor == "interpreter":
        return Interpreters(workers)
    return Processes(workers, settings.memory_bytes, settings.recycle_after * workers)


def lost_with(executor: Executor) -> dict[str, str]:
    """Give of `LOST` what is lost with this kind, on this interpreter."""
    if executor == "process":
        return {}
    spared = set[str]()
    if executor == "interpreter":
        spared.update(_OF_ONE_INTERPRETER)
    elif free_threaded():
        spared.add(_GIL_ONLY)
    return {name: said for name, said in LOST.items() if name not in spared}


def free_threaded() -> bool:
    """Tell whether threads of Python run side by side: a build for it, and no GIL turned on."""
    return not getattr(sys, "_is_gil_enabled", lambda: True)()
