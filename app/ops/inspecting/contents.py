"""What an archive holds, by its own account, without unpacking it."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from app.errors import ArchiveError, ArchiveUnsupported, CodecError, LimitError
from app.ops.archives.members import Archive, Budget
from app.ops.archives.opening import open_archive
from app.ops.base import Source

_MOST_MEMBERS = 100_000
_MOST_TIME_S = 2.0
"""A compressed tar has to be decompressed to be counted."""


_ANY_RATIO = 1e9
"""Nothing is kept of what comes out, and time is bounded."""


class _Enough(Exception):
    """So much was looked at; the rest would take too long."""


class _Glance(Budget):
    """A budget that is over soon."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(
            max_entries=_MOST_MEMBERS,
            max_output_bytes=1 << 62,
            max_ratio=_ANY_RATIO,
            source_bytes=size_bytes,
        )
        self._ends_at = time.monotonic() + _MOST_TIME_S

    def decoded(self, size_bytes: int) -> None:
        """End the look after a while."""
        super().decoded(size_bytes)
        if time.monotonic() > self._ends_at:
            raise _Enough


def describe_archive(source: Source) -> dict[str, Any] | None:
    """Count what an archive holds.

    Of a zip by its directory, of a tar by its headers, compressed or not; at most 100,000
    members, and not longer than 2 s.

    Returns:
        None if the file is no archive that is read here. Else `format`; `members`, of these
        `files`, `folders` and, by error code, `problems` with those that could not be extracted;
        `content_size_bytes`, as the members' headers have it; `complete`, whether all were
        counted; `damaged`, the reason, if it cannot be read on from some point.
    """
    kinds: Counter[str] = Counter()
    problems: Counter[str] = Counter()
    facts: dict[str, Any] = {"complete": False}
    content_bytes = 0
    archive: Archive | None = None
    size_bytes = source.size_bytes
    with source.open() as file:
        try:
            archive = open_archive(file, size_bytes, _Glance(size_bytes))
            for member in archive.members():
                kinds[member.kind] += 1
                content_bytes += member.size_bytes if member.kind == "file" else 0
                if member.problem is not None:
                    problems[member.problem.code] += 1
            facts["complete"] = True
        except ArchiveUnsupported:
            return None
        except (ArchiveError, CodecError) as error:
            if archive is None and isinstance(error, CodecError):
                return None
            facts["damaged"] = error.detail
        except (LimitError, _Enough):
            pass
    return {
        "format": archive.format if archive is not None else "zip",
        "members": kinds.total(),
        "files": kinds["file"],
        "folders": kinds["folder"],
        "problems": dict(problems),
        "content_size_bytes": content_bytes,
        **facts,
    }
