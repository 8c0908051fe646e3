"""Offload's Python client.

    import offload

    with offload.Client("http://127.0.0.1:8000") as client:
        client.image("photo.jpg", width=800).result().save("small.jpg")

What is named here is loaded when it is first used: the import itself costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from offload._async.client import AsyncClient as AsyncClient
    from offload._async.files import AsyncFile as AsyncFile
    from offload._async.jobs import AsyncItem as AsyncItem
    from offload._async.jobs import AsyncJob as AsyncJob
    from offload._sync.client import Client as Client
    from offload._sync.files import File as File
    from offload._sync.jobs import Item as Item
    from offload._sync.jobs import Job as Job
    from offload.errors import CannotRepeat as CannotRepeat
    from offload.errors import ConnectionFailed as ConnectionFailed
    from offload.errors import DigestMismatch as DigestMismatch
    from offload.errors import InputChanged as InputChanged
    from offload.errors import JobFailed as JobFailed
    from offload.errors import NotFound as NotFound
    from offload.errors import NotOffload as NotOffload
    from offload.errors import OffloadError as OffloadError
    from offload.errors import ServiceError as ServiceError
    from offload.errors import TimedOut as TimedOut
    from offload.errors import Unauthorized as Unauthorized
    from offload.inputs import Stored as Stored
    from offload.inputs import Upload as Upload
    from offload.inputs import Url as Url
    from offload.records import Delivery as Delivery
    from offload.records import Event as Event
    from offload.webhooks import Forged as Forged
    from offload.webhooks import verify_webhook as verify_webhook

__version__ = "0.2.0"

_HOMES = {
    "offload._async.client": ("AsyncClient",),
    "offload._async.files": ("AsyncFile",),
    "offload._async.jobs": ("AsyncItem", "AsyncJob"),
    "offload._sync.client": ("Client",),
    "offload._sync.files": ("File",),
    "offload._sync.jobs": ("Item", "Job"),
    "offload.errors": (
        "CannotRepeat",
        "ConnectionFailed",
        "DigestMismatch",
        "InputChanged",
        "JobFailed",
        "NotFound",
        "NotOffload",
        "OffloadError",
        "ServiceError",
        "TimedOut",
        "Unauthorized",
    ),
    "offload.inputs": ("Stored", "Upload", "Url"),
    "offload.records": ("Delivery", "Event"),
    "offload.webhooks": ("Forged", "verify_webhook"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    """Load what is asked for."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'offload' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    """Name what can be asked for."""
    return [*globals(), *_HOME_OF]
