"""How long a fuzz test goes on, and how it spoils what is whole."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator

BUDGET_S = float(os.environ.get("FUZZ_SECONDS", "0.5"))
"""Of each fuzz test; `make fuzz` gives more."""


def rounds(seed: int = 0) -> Iterator[random.Random]:
    """Give one source of chance after the other until the budget is used; at least ten."""
    ends_at = time.monotonic() + BUDGET_S
    number = 0
    while number < 10 or time.monotonic() < ends_at:
        yield random.Random(f"{seed}-{number}")
        number += 1


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Spoil some bytes: flipped, cut, repeated, overwritten by telling numbers, or moved."""
    spoiled = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        if not spoiled:
            break
        at = chance.randrange(len(spoiled))
        size = chance.choice((1, 1, 2, 4, 8, 64, 512))
        how = chance.randrange(7)
        if how == 0:
            spoiled[at] ^= 1 << chance.randrange(8)
        elif how == 1:
            spoiled[at : at + size] = chance.randbytes(size)
        elif how == 2:
            del spoiled[at:]
        elif how == 3:
            del spoiled[at : at + size]
        elif how == 4:
            spoiled[at:at] = spoiled[at : at + size]
        elif how == 5:
            telling = chance.choice((b"\x00", b"\xff", b"\x7f", b"\x80"))
            spoiled[at : at + size] = telling * min(size, 8)
        else:
            other = chance.randrange(len(spoiled))
            spoiled[at : at + size] = spoiled[other : other + size]
    return bytes(spoiled)
