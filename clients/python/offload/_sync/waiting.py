"""What blocks: simply called here, put into a thread in `_async`. By hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

sleep = time.sleep


def call(work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Do what reads or writes files."""
    return work(*args, **options)
