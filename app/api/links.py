"""Where things are, as clients reach them: below the path that a proxy shows the service under."""

from __future__ import annotations

from contextvars import ContextVar

_root_path: ContextVar[str] = ContextVar("root_path", default="")


def set_root_path(root_path: str) -> None:
    """Say what goes before the paths of the request that is served; each has its own context."""
    _root_path.set(root_path)


def link(path: str) -> str:
    """Give a path of this service as the client of this request reaches it."""
    return _root_path.get() + path
