"""The demonstration."""


async def run(keep: object) -> int:
    """Run it."""
    return 0
