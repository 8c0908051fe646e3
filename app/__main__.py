"""The command line: parses arguments, nothing else.

Everything is imported at need: the pool's children import this module again, and need none of it.
"""

from __future__ import annotations


def main() -> None:
    """Run the `offload` command."""
    from app.cli import cli

    cli()


if __name__ == "__main__":
    main()
