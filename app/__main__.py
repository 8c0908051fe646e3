"""The command line: parses arguments, nothing else.

Everything is imported at need: the pool's children import this module again, and need none of it.
"""

from __future__ import annotations


def main() -> None:
    """Run the `offload` command."""
    import signal
    import sys

    # First of all, because process 1 of a container is deaf to SIGTERM without a handler. And
    # uvicorn raises the signal again that it was stopped by, once all is closed: dying of it would
    # skip what is done at exit, and multiprocessing would complain of leaked semaphores.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    from app.cli import cli

    cli()


if __name__ == "__main__":
    main()
