"""What blocks: put into a thread here, simply called in `_sync`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import anyio

P = ParamSpec("P")
T = TypeVar("T")

sleep = anyio.sleep


async def call(work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Do what reads or writes files, without holding up the others."""
    return await anyio.to_thread.run_sync(partial(work, *args, **options))
