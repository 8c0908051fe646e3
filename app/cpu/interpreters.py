"""Which libraries of the operations load in a subinterpreter: each is tried in one."""

from __future__ import annotations

import ast
import platform
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from app.ops.registry import load_operations

OLDEST = (3, 14)
_OURS = "app"
_ATTEMPT = """
try:
    import {}
except ModuleNotFoundError:  # of an extra that is not installed, or a name that is no module
    pass
"""


class NotOffered(Exception):
    """Interpreters cannot be what the workers are; says why in a sentence."""


def check_interpreters() -> None:
    """See that all operations work in a subinterpreter.

    Raises:
        NotOffered: this Python has none, or something that they import does not load in one.
    """
    if sys.version_info[:2] < OLDEST:
        raise NotOffered(
            "OFFLOAD_POOL_EXECUTOR is `interpreter`, which needs Python 3.14, and this is "
            f"{platform.python_version()}."
        )
    modules: dict[str, set[str]] = {}
    needing: dict[str, list[str]] = {}
    for name, operation in load_operations().items():
        for library, of_it in libraries_of(operation.run.__module__).items():
            modules.setdefault(library, set()).update(of_it)
            needing.setdefault(library, []).append(name)
    refusing = [library for library in sorted(modules) if not _loads(sorted(modules[library]))]
    if refusing:
        told = "; ".join(f"{library} (of {', '.join(needing[library])})" for library in refusing)
        raise NotOffered(
            "OFFLOAD_POOL_EXECUTOR is `interpreter`, and these libraries do not load in a "
            f"subinterpreter: {told}."
        )


def _loads(modules: Iterable[str]) -> bool:
    interpreters: Any = import_module("concurrent.interpreters")
    tried = interpreters.create()
    try:
        for module in modules:
            tried.exec(_ATTEMPT.format(module))
    except interpreters.ExecutionFailed:
        return False
    finally:
        tried.close()
    return True


def libraries_of(module: str) -> dict[str, set[str]]:
    """Give others' packages that a module imports, and those of this program that it imports.

    Also what is imported at need, inside a function: it is read, not run.

    Returns:
        By a package's name, its modules; names in one that are no module may be among them.
    """
    found: dict[str, set[str]] = {}
    seen, waiting = set[str](), [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for imported in _imports_of(name):
            top = imported.partition(".")[0]
            if top == module.partition(".")[0] or top == _OURS:
                waiting.append(imported)
            elif top not in sys.stdlib_module_names:
                found.setdefault(top, set()).add(imported)
    return found


@cache
def _imports_of(name: str) -> tuple[str, ...]:
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:  # `from app.x import y`, where y is no module
        return ()
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return ()
    return tuple(_imported(ast.parse(Path(spec.origin).read_text("utf-8")), name))


def _imported(tree: ast.AST, within: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*within.split(".")[: -node.level], *filter(None, [base])])
            yield base
            yield from (f"{base}.{one.name}" for one in node.names)
