"""What both kinds of archive are read as: members, one after the other, and a budget over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from app.errors import (
    MemberIsLink,
    MemberIsSpecial,
    OffloadError,
    OutputTooLarge,
    RatioExceeded,
    TooManyMembers,
)

CHUNK_BYTES = 1 << 20

RATIO_FREE_BYTES = 16 << 20
"""So much may come out of any archive, whatever its ratio: ten empty log files are no bomb."""

Kind = Literal["file", "folder", "symlink", "hardlink", "device", "fifo", "socket", "other"]


@dataclass(frozen=True, slots=True)
class Member:
    """One member, as its header describes it. None of that is to be trusted."""

    name: str
    """As the archive has it, decoded; not cleaned."""
    kind: Kind
    size_bytes: int
    compressed_bytes: int | None
    """None where members are not compressed one by one."""
    problem: OffloadError | None
    """Why its content cannot be had; None if it can be tried."""
    chunks: Callable[[], Iterator[bytes]]
    """Decodes the content. What it gives is at most `CHUNK_BYTES` at a time, at most `size_bytes`
    in all, and checked against what the archive says of it when the last has been given. Raises
    `ArchiveError`. Of a tar's member only before the next member is asked for."""


class Archive(Protocol):
    """An open archive."""

    format: str

    def members(self) -> Iterator[Member]:
        """Give the members in the archive's order.

        Raises:
            ArchiveError: it cannot be read on from here; what came before stands.
            CodecError: nothing that came out of it can be relied on.
        """
        ...

    def done_bytes(self) -> tuple[int, int]:
        """Tell how much of the source has been read, and of how much."""
        ...


class Budget:
    """Counts what comes out while it comes out.

    Args:
        max_entries: members, of all kinds.
        max_output_bytes: of all files together.
        max_ratio: decoded bytes by bytes of the source; counts from `RATIO_FREE_BYTES` on.
        source_bytes: the archive's size.
    """

    def __init__(
        self, *, max_entries: int, max_output_bytes: int, max_ratio: float, source_bytes: int
    ) -> None:
        self._max_entries = max_entries
        self._max_output_bytes = max_output_bytes
        self._max_ratio = max_ratio
        self._max_decoded_bytes = max(int(max_ratio * source_bytes), RATIO_FREE_BYTES)
        self.entries = 0
        self.output_bytes = 0
        self._decoded_bytes = 0

    def check_entries(self, announced: int) -> None:
        """Refuse an archive that says itself that it has too many."""
        if announced > self._max_entries:
            raise TooManyMembers(
                f"The archive has more than {self._max_entries} members.",
                max_entries=self._max_entries,
            )

    def entry(self) -> None:
        """Count a member."""
        self.entries += 1
        self.check_entries(self.entries)

    def decoded(self, size_bytes: int) -> None:
        """Count bytes that decoding gave, asked for or only on the way to others."""
        self._decoded_bytes += size_bytes
        if self._decoded_bytes > self._max_decoded_bytes:
            raise RatioExceeded(
                f"The archive gives more than {self._max_ratio:g} times its own size.",
                max_ratio=self._max_ratio,
            )

    def written(self, size_bytes: int) -> None:
        """Count bytes of a result, before they are written."""
        self.output_bytes += size_bytes
        if self.output_bytes > self._max_output_bytes:
            raise OutputTooLarge(
                f"The archive's files are more than {self._max_output_bytes} bytes.",
                max_output_bytes=self._max_output_bytes,
            )


def kind_problem(kind: Kind, target: str = "") -> OffloadError | None:
    """Give the reason why a member of this kind is left out; None for files and folders."""
    if kind in ("file", "folder"):
        return None
    if kind in ("symlink", "hardlink"):
        name = "symbolic link" if kind == "symlink" else "hard link"
        where = f" to {target!r}" if target else ""
        return MemberIsLink(f"The member is a {name}{where}; links are not followed.")
    if kind == "other":
        return MemberIsSpecial("The member is of a kind that is not known here.")
    name = "FIFO" if kind == "fifo" else kind
    return MemberIsSpecial(f"The member is a {name}, no file.")
