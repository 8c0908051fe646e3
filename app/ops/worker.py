"""Making a process a worker: bounded, without secrets, warm."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import signal

from app.ops.bounds import lower_limit
from app.ops.registry import load_operations

_log = logging.getLogger(__name__)

_KEPT_VARIABLES = ("PATH", "LANG", "TZ", "TMPDIR")
_KEPT_PREFIXES = ("LC_", "MALLOC_", "VIPS_")

_M_ARENA_MAX = -8
"""As glibc's malloc.h has it."""


def prepare_worker(memory_bytes: int) -> None:
    """Make the calling process a worker: bounded, without secrets, warm. Cannot be undone.

    Afterwards the process ignores SIGINT and SIGHUP (a terminal sends them to the children too,
    and the service decides when they stop), dumps no core, and has only the few environment
    variables that libraries need. The variables are gone for this process and its children; the
    kernel's copy of the initial environment is not rewritten.

    Args:
        memory_bytes: address space that the process may use, libraries included; 0 for no
            limit. An idle worker maps 0.1 to 0.3 GiB.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in tuple(os.environ):
        if name not in _KEPT_VARIABLES and not name.startswith(_KEPT_PREFIXES):
            del os.environ[name]
    warm_up()
    if memory_bytes > 0:
        _share_arenas()
        lower_limit(resource.RLIMIT_AS, memory_bytes, hard=True)


def warm_up() -> None:
    """Load what the operations' first items should not have to wait for."""
    for operation in load_operations().values():
        if operation.warm_up is None:
            continue
        try:
            operation.warm_up()
        except Exception:  # noqa: BLE001
            # An initializer that raises breaks the pool. The operation will say the same of
            # itself when it is used; the others can work.
            _log.exception("The operation %s cannot be warmed up.", operation.name)


def _share_arenas() -> None:
    """Keep glibc from reserving 64 MiB of address space for every thread that allocates."""
    libc = ctypes.CDLL(None)
    # musl has neither the arenas nor the function.
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 2)
