"""The command line: `offload`. Everything is imported at need.

A pool's children import the main module again, which leads here, and need none of it.
"""

from __future__ import annotations

INTERRUPTED, TERMINATED = 130, 143


def main() -> None:
    """Run the `offload` command."""
    import signal
    import sys

    words = sys.argv[1:]
    # First of all, as `python -m app` does: process 1 of a container is deaf to SIGTERM otherwise.
    # For a service it is how it ends in order; of all else it breaks off what was to be done.
    ended = 0 if words[:1] == ["serve"] else TERMINATED
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ended))
    try:
        from offload.cli.root import command_line

        command_line(words)()
    except KeyboardInterrupt:
        print("offload: Interrupted.", file=sys.stderr)
        _leave(INTERRUPTED)
        sys.exit(INTERRUPTED)
    except SystemExit as end:
        if end.code in (INTERRUPTED, TERMINATED):
            _leave(end.code)
        raise


def _leave(code: int) -> None:
    """End the process if a thread is held up by a pipe: Python would wait until that moves."""
    import atexit
    import multiprocessing
    import os
    import sys
    import threading
    import time

    until_s = time.monotonic() + 0.5
    others = [one for one in threading.enumerate() if one is not threading.current_thread()]
    for thread in others:
        if not thread.daemon:
            thread.join(max(0.0, until_s - time.monotonic()))
    if any(thread.is_alive() and not thread.daemon for thread in others):
        for child in multiprocessing.active_children():
            child.kill()
        atexit._run_exitfuncs()  # noqa: SLF001 - what it does at every other end
        sys.stderr.flush()
        os._exit(code)
