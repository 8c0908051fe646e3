"""The command line: `offload`. Everything is imported at need.

A pool's children import the main module again, which leads here, and need none of it.
"""

from __future__ import annotations


def main() -> None:
    """Run the `offload` command."""
    import signal
    import sys

    # First of all, as `python -m app` does: process 1 of a container is deaf to SIGTERM otherwise.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    from offload.cli.root import command_line

    command_line(sys.argv[1:])()
