"""The guide's situations, one a module: what is raced, and what the guide says of it."""

from __future__ import annotations

from dataclasses import dataclass

PAGE = "docs/concurrency.md"


@dataclass(frozen=True, slots=True)
class About:
    """What is told of a situation without measuring it."""

    key: str
    """The name of its module, too."""
    title: str
    guide_says: str
    anchor: str
    """Its heading in docs/concurrency.md."""
    share: float
    """Of the time of a whole run, in parts."""

    @property
    def explained(self) -> str:
        """Where the documentation says why."""
        return f"{PAGE}#{self.anchor}"


SITUATIONS = (
    About(
        "web",
        "A web server with many requests",
        "asyncio: a thread for each costs more with every request in flight; and nothing that "
        "computes belongs in the loop.",
        "a-web-server-with-many-requests",
        18,
    ),
    About(
        "downloads",
        "100 files to download at once",
        "asyncio with gather and a bound; a pool of threads does for some tens.",
        "files-to-download",
        25,
    ),
    About(
        "pictures",
        "1 GB of pictures",
        "Processes, with several pictures a trip, and paths over the pipe instead of bytes.",
        "pictures",
        20,
    ),
    About(
        "background",
        "A background task in FastAPI",
        "create_task for what waits; what must not be lost goes into a queue that is on disk.",
        "a-background-task",
        14,
    ),
    About(
        "synchronous",
        "Existing synchronous code, called from async code",
        "to_thread, or a pool of threads with a bound of its own; never directly.",
        "synchronous-code",
        8,
    ),
    About(
        "data",
        "Data science",
        "Threads for NumPy, which releases the interpreter lock; processes for pure Python, which "
        "does not.",
        "data",
        16,
    ),
    About(
        "compression",
        "Compression",
        "Threads and blocks for one large file, since codecs release the interpreter lock; of "
        "small ones many together, wherever they go.",
        "compression",
        20,
    ),
)
BY_KEY = {about.key: about for about in SITUATIONS}
