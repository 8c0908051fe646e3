"""Which operations there are: found by looking, so that adding one is adding a file.

A module of this package that has an `OPERATION` offers it, and so does any installed package
with an entry point in the group `offload.operations` that loads to an `Operation`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType

import app.ops
from app.ops.base import Offered, Operation
from app.ops.fetch import FETCH

ENTRY_POINT_GROUP = "offload.operations"


@cache
def load_operations() -> Mapping[str, Operation]:
    """Find all operations, once a process.

    Returns:
        Name to operation, read only, sorted by name.

    Raises:
        ValueError: two places offer an operation under one name; the message has both.
        TypeError: an entry point, or a module's `OPERATION`, is not an `Operation`.
        ImportError: a module or an entry point cannot be imported.
    """
    operations: dict[str, Operation] = {}
    origins = {FETCH.name: "app.ops.fetch.FETCH"}
    for origin, offered in (*_from_this_package(), *_from_entry_points()):
        if not isinstance(offered, Operation):
            raise TypeError(f"{origin} is a {type(offered).__name__}, not an Operation.")
        if offered.name in origins:
            raise ValueError(
                f"Two operations are named {offered.name!r}: {origins[offered.name]} and {origin}."
            )
        operations[offered.name] = offered
        origins[offered.name] = origin
    return MappingProxyType(dict(sorted(operations.items())))


@cache
def load_offered() -> Mapping[str, Offered]:
    """Find all that clients may ask for: the operations, and fetching. Raises as they do."""
    return MappingProxyType(dict(sorted({**load_operations(), FETCH.name: FETCH}.items())))


def _from_this_package() -> Iterator[tuple[str, object]]:
    for found in pkgutil.iter_modules(app.ops.__path__, f"{app.ops.__name__}."):
        module = importlib.import_module(found.name)
        if hasattr(module, "OPERATION"):
            yield f"{found.name}.OPERATION", module.OPERATION


def _from_entry_points() -> Iterator[tuple[str, object]]:
    for point in entry_points(group=ENTRY_POINT_GROUP):
        package = point.dist.name if point.dist else "an unnamed package"
        yield f"{point.value} (entry point {point.name!r} of {package})", point.load()
