"""Extract: the files out of a zip or a tar, each checked, none able to leave its place.

7z is not among the formats: py7zr, the one kept library for it, brings nine others along and keeps
what it decodes in memory (its issue 626); libarchive needs a system library.
"""

from __future__ import annotations

from typing import Annotated, Any, BinaryIO

from pydantic import Field, field_validator

from app.errors import ArchiveError, MemberPathUnsafe, OffloadError, Refusal, from_code
from app.ops import spellings
from app.ops.archives import globs
from app.ops.archives.members import Archive, Budget, Member
from app.ops.archives.names import Names, safe_path, shown
from app.ops.archives.opening import open_archive
from app.ops.base import (
    MAX_BYTES,
    MAX_ELEMENTS,
    MAX_RATIO,
    Operation,
    Output,
    Params,
    Result,
    Work,
    by_size,
)
from app.ops.codecs.hashed import HashedFile
from app.ops.codecs.kinds import MEDIA_TYPES, TAR_FORMATS
from app.ops.media_type import HEAD_BYTES, sniff
from app.ops.text_types import Word, called

_GLOBS_EXAMPLE = ["**/*.jpg", "docs/"]


_Glob = Annotated[str, Field(max_length=1_000)]


class ExtractParams(Params):
    """Which members, and how much they may become."""

    include: list[_Glob] = Field(
        default=[],
        max_length=MAX_ELEMENTS,
        description=f"Only members that one of these globs takes; all if empty. {globs.MEANING}",
        examples=[_GLOBS_EXAMPLE],
    )
    exclude: list[_Glob] = Field(
        default=[], max_length=MAX_ELEMENTS, examples=[["__MACOSX/", ".DS_Store"]]
    )
    """Not the members that one of these globs takes, even if `include` does."""
    list_only: bool = False
    """Only tell what is in it: `members` in the facts, with `name`, `kind`, `size_bytes` as the
    archive states it, `compressed_bytes` where members are compressed one by one, and `refused`,
    the code of the reason, where a member would be left out."""
    max_entries: int = Field(default=10_000, ge=1, le=10_000_000)
    """An archive with more members, of all kinds, is refused. The operator's limit on files stands
    above it."""
    max_output_bytes: int | None = Field(default=None, ge=1, le=MAX_BYTES)
    """Most that the files may come to together, counted as they are written. The operator's limit
    stands above it, and is used if this is not given."""
    max_ratio: float = Field(default=2000.0, ge=1, le=MAX_RATIO)
    """How many times its own size an archive may give, counted as it is decompressed; the first 16
    MiB are always allowed. Deflate cannot exceed 1032."""

    _split = field_validator("include", "exclude", mode="before")(spellings.listed)
    _check = field_validator("include", "exclude")(globs.checked)


def extract(work: Work, params: ExtractParams) -> Result:
    """Write each file of the archive, in the archive's order.

    A member that is damaged, encrypted, a link, a device, or has a path that is absolute or
    climbs fails alone. A tar that is cut gives the members in front of the cut, and the cut is
    told among the refused. A compressed tar whose stream is cut or damaged gives nothing: its
    checksum is at the end, and stands for all. A zip that is cut gives nothing: it has lost its
    directory. Archives inside are files like any others. Folders come back as part of the names.

    Memory: a few MiB, the directory of a zip, and a decompressor's window of 128 MiB at most.

    Returns:
        One output for each file, named by its path as `safe_path` has it; of two with one path
        the second is numbered. Facts: `format`, `entries` (all members), `files` (written),
        `skipped` (not asked for), `refused`, `renamed`, `output_bytes`; with `list_only` also
        `members`.

    Raises:
        ArchiveError: not an archive, not one that can be relied on, or nothing in it that could
            be extracted.
        CodecError: a compressed tar is cut or damaged.
        TooManyMembers, OutputTooLarge, RatioExceeded: over a budget.
    """
    source = work.source
    limits = work.limits
    size_bytes = source.path.stat().st_size
    budget = Budget(
        max_entries=min(params.max_entries, limits.max_files),
        max_output_bytes=min(
            params.max_output_bytes or limits.max_output_bytes, limits.max_output_bytes
        ),
        max_ratio=params.max_ratio,
        source_bytes=size_bytes,
    )
    with source.path.open("rb") as file:
        archive = open_archive(file, size_bytes, budget)
        extraction = _Extraction(work, params, budget, archive)
        try:
            for member in archive.members():
                extraction.take(member)
        except ArchiveError as error:
            # Members in front of it stand: tar and zip do not depend on what comes later.
            extraction.refuse(source.name or "archive", error)
    return extraction.result()


class _Extraction:
    """What has become of the members so far."""

    def __init__(self, work: Work, params: ExtractParams, budget: Budget, archive: Archive) -> None:
        self._work = work
        self._params = params
        self._budget = budget
        self._archive = archive
        self._names = Names(fold=False)
        self._outputs: list[Output] = []
        self._refused: list[Refusal] = []
        self._listed: list[dict[str, Any]] = []
        self._skipped = 0
        self._renamed = 0

    def take(self, member: Member) -> None:
        """Write a member, list it, or say why not."""
        try:
            path = safe_path(member.name)
            if not path and member.kind != "folder":
                raise MemberPathUnsafe("The member has no name.")
        except MemberPathUnsafe as error:
            self._leave_out(member, shown(member.name), error)
            return
        if not self._is_asked_for(path):
            self._skipped += 1
        elif member.problem is not None:
            self._leave_out(member, path, member.problem)
        elif self._params.list_only:
            self._list(member, path)
        elif member.kind == "file":
            self._write(member, path)
        self._work.tell(*self._archive.done_bytes())

    def refuse(self, name: str, error: OffloadError) -> None:
        """Note what was left out."""
        self._refused.append(Refusal(name, error.code, error.detail))

    def result(self) -> Result:
        """Give all that was made; raise if that is nothing, and not for want of asking."""
        if self._refused and not self._outputs and not self._params.list_only:
            raise self._nothing_left()
        facts: dict[str, Any] = {
            "format": self._archive.format,
            "entries": self._budget.entries,
            "files": len(self._outputs),
            "skipped": self._skipped,
            "refused": len(self._refused),
            "renamed": self._renamed,
            "output_bytes": sum(output.path.stat().st_size for output in self._outputs),
        }
        if self._params.list_only:
            facts["members"] = self._listed
        return Result(tuple(self._outputs), facts, tuple(self._refused))

    def _is_asked_for(self, path: str) -> bool:
        include, exclude = self._params.include, self._params.exclude
        if include and not globs.matches(path, include):
            return False
        return not globs.matches(path, exclude)

    def _leave_out(self, member: Member, name: str, error: OffloadError) -> None:
        if self._params.list_only:
            self._list(member, name, error)
        else:
            self.refuse(name, error)

    def _list(self, member: Member, name: str, error: OffloadError | None = None) -> None:
        told: dict[str, Any] = {
            "name": name,
            "kind": member.kind,
            "size_bytes": member.size_bytes,
        }
        if member.compressed_bytes is not None:
            told["compressed_bytes"] = member.compressed_bytes
        if error is not None:
            told["refused"] = error.code
        self._listed.append(told)

    def _write(self, member: Member, path: str) -> None:
        # A number, not the name: nothing in an archive decides where something is written.
        target = self._work.folder / str(len(self._outputs))
        try:
            with target.open("xb") as file:
                head, digest = self._copy(member, file)
        except ArchiveError as error:
            target.unlink()
            self.refuse(path, error)
            return
        name = self._names.take(path)
        self._renamed += name != member.name
        self._outputs.append(Output(target, name, called(sniff(head), Word(name)), digest))

    def _copy(self, member: Member, file: BinaryIO) -> tuple[bytes, str]:
        hashed = HashedFile(file)
        head = b""
        for chunk in member.chunks():
            self._budget.written(len(chunk))
            hashed.write(chunk)
            if len(head) < HEAD_BYTES:
                head += chunk[: HEAD_BYTES - len(head)]
            self._work.tell(*self._archive.done_bytes())
        return head, hashed.sha256

    def _nothing_left(self) -> OffloadError:
        first = self._refused[0]
        if len(self._refused) == 1:
            return from_code(first.code, f"{first.name}: {first.detail}")
        return from_code(
            first.code,
            f"None of the {len(self._refused)} members asked for could be extracted. "
            f"The first, {first.name}: {first.detail}",
        )


OPERATION = Operation(
    name="extract",
    summary="Take the files out of a zip or a tar, compressed or not.",
    params=ExtractParams,
    runs="process",
    accepts=("application/zip", "application/x-tar", *map(MEDIA_TYPES.__getitem__, TAR_FORMATS)),
    run=extract,
    weight_ms=by_size(1, 10),
    example={"include": ["**/*.jpg"], "exclude": ["__MACOSX/"]},
)
