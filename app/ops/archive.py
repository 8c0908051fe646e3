"""Archive: many files into one zip or tar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from app.errors import MemberNameTaken, MemberPathUnsafe, NoSources, Refusal
from app.ops import spellings
from app.ops.archives import template
from app.ops.archives.names import Names, safe_path
from app.ops.archives.stored import is_dense
from app.ops.archives.tar_writer import header_bytes, tar_bytes, write_tar
from app.ops.archives.zip_writer import ZipWriter
from app.ops.base import Operation, Output, Params, Result, Source, Work, by_size
from app.ops.codecs.hashed import HashedFile
from app.ops.codecs.kinds import (
    MEDIA_TYPES,
    TAR_FORMATS,
    Codec,
    Level,
    LevelName,
    TarFormat,
    check_level,
)
from app.ops.codecs.packing import packing

Format = Literal["zip", "tar", TarFormat]

_CODEC: dict[Format, Codec] = {
    "zip": "deflate-raw",
    **{name: codec for codec, name in TAR_FORMATS.items()},
}
_MEDIA_TYPE: dict[Format, str] = {
    "zip": "application/zip",
    "tar": "application/x-tar",
    **{name: MEDIA_TYPES[codec] for codec, name in TAR_FORMATS.items()},
}

_EPOCH = datetime(1980, 1, 1, tzinfo=UTC)
"""The first moment that a zip can state; tars get it too."""

_MAX_NAME_CHARACTERS = 200
_MAX_TEMPLATE_CHARACTERS = 1_000


class ArchiveParams(Params):
    """The format, and how the files are named in it."""

    format: Annotated[Format, BeforeValidator(spellings.archive)] = "zip"
    """In a zip each file is compressed by itself and can be opened by itself; a compressed tar is
    smaller where files are alike."""
    level: LevelName | spellings.LevelNumber = "balanced"
    """`fast`, `balanced` or `best`, or a number as the codec's usual tool counts: 1 to 9 for zip,
    tar.gz and tar.bz2, 1 to 22 for tar.zst, 0 to 9 for tar.xz, 1 to 12 for tar.lz4. A plain tar has
    none."""
    path: str = Field(
        default="{path}",
        max_length=_MAX_TEMPLATE_CHARACTERS,
        description=f"Template for the files' paths in the archive. {template.MEANING} What comes "
        "out is made relative and storable on any system.",
        examples=["photos/{index:03}-{stem}{ext}"],
    )
    on_collision: Literal["number", "error"] = "number"
    """For two files with one path: `number` makes the second `a (2).txt`, `error` refuses all.
    Paths that differ in case only count as one, as they do on Windows and macOS; so does a file
    with a folder of its name."""
    name: str = Field(default="archive", min_length=1, max_length=_MAX_NAME_CHARACTERS)
    """The archive's own name; the format's suffix is added if it is not there."""
    deterministic: bool = True
    """Whether the same files, in the same order, give the same bytes: all carry the time
    1980-01-01. If not, they carry the time (UTC) at which the archive was made."""

    _number_or_name = field_validator("level", mode="before")(spellings.level)
    _path_is_a_template = field_validator("path")(template.checked)

    @field_validator("level", mode="after")
    @classmethod
    def _within_the_format(cls, value: Level, info: ValidationInfo) -> Level:
        """Hold a number against the range of the chosen format."""
        chosen: Format | None = info.data.get("format")
        if chosen == "tar" and value != "balanced":
            raise ValueError("a plain tar is not compressed, and has no level")
        if isinstance(value, int) and chosen is not None:
            check_level(_CODEC[chosen], value, chosen)
        return value

    @field_validator("name", mode="after")
    @classmethod
    def _name_is_a_file_name(cls, value: str) -> str:
        try:
            safe = safe_path(value)
        except MemberPathUnsafe as error:
            raise ValueError(f"is no file name: {error.detail}") from None
        if safe != value or "/" in value:
            raise ValueError("must be one file name that every system can store")
        return value


@dataclass(frozen=True, slots=True)
class _Named:
    """A source and its path in the archive."""

    source: Source
    path: str
    size_bytes: int


def archive(work: Work, params: ArchiveParams) -> Result:
    """Pack all sources into one file, in their order.

    Folders have no members of their own; tools make them from the paths. In a zip, what is
    compressed already by its media type is stored, and so is what deflate would not make smaller.
    Members are ordinary files of mode 644. Memory: flat, whatever the sources' sizes; a few KiB
    for each member.

    Returns:
        One output. Facts: `format`, `level`, `methods` (libraries with their levels), `entries`,
        `stored` (zip: members not compressed), `renamed` (numbered for a collision),
        `input_bytes`, `ratio` (input by output, three decimals; None if the input is empty).

    Raises:
        NoSources: there is nothing to pack.
        MemberNameTaken: two files would have one path, and `on_collision` is `error`.
        MemberPathUnsafe: no file has a path that could be stored.
        MemoryError, OSError: as their names say.
    """
    if not work.sources:
        raise NoSources("There is no file to put into the archive.")
    named, renamed, refused = _named(work.sources, params)
    if not named:
        raise MemberPathUnsafe(f"{refused[0].name}: {refused[0].detail}")
    writing = _Packing(work, params, named)
    target = work.folder / f"archive.{params.format}"
    with target.open("xb") as file:
        pack = writing.to_zip if params.format == "zip" else writing.to_tar
        told, sha256 = pack(file)
    facts: dict[str, Any] = {
        "format": params.format,
        "level": None if params.format == "tar" else params.level,
        "entries": len(named),
        "renamed": renamed,
        "input_bytes": writing.input_bytes,
        **told,
    }
    ratio = writing.input_bytes / target.stat().st_size
    facts["ratio"] = round(ratio, 3) if writing.input_bytes else None
    name, suffix = params.name, f".{params.format}"
    name = name if name.lower().endswith(suffix) else name + suffix
    output = Output(target, name, _MEDIA_TYPE[params.format], sha256)
    return Result((output,), facts, tuple(refused))


def _named(
    sources: Sequence[Source], params: ArchiveParams
) -> tuple[list[_Named], int, list[Refusal]]:
    """Give each source its path, and how many had to be numbered; and which can have none."""
    names = Names(fold=True)
    named: list[_Named] = []
    refused: list[Refusal] = []
    renamed = 0
    for index, source in enumerate(sources, 1):
        try:
            asked = safe_path(template.rendered(params.path, source.name, index))
        except MemberPathUnsafe as error:
            refused.append(Refusal(source.name, error.code, error.detail))
            continue
        if params.on_collision == "error" and not names.free(asked):
            raise MemberNameTaken(f"A second file would be {asked!r} in the archive.", path=asked)
        path = names.take(asked)
        renamed += path != asked
        named.append(_Named(source, path, source.path.stat().st_size))
    return named, renamed, refused


class _Packing:
    """The files on their way into the archive."""

    def __init__(self, work: Work, params: ArchiveParams, named: Sequence[_Named]) -> None:
        self._work = work
        self._params = params
        self._named = named
        self._modified = _EPOCH if params.deterministic else datetime.now(UTC)
        self.input_bytes = sum(one.size_bytes for one in named)
        self._done_bytes = 0

    def to_zip(self, file: BinaryIO) -> tuple[dict[str, Any], None]:
        """Write a zip; it goes back to its headers, so its digest is not known."""
        level, cores = self._params.level, self._work.cores
        with ZipWriter(file, level, self._modified, cores, self._wrote) as writer:
            for one in self._named:
                deflated = not is_dense(one.source.media_type)
                writer.add(one.source.path, one.path, deflated=deflated)
        return {"methods": sorted(writer.methods), "stored": writer.stored}, None

    def to_tar(self, file: BinaryIO) -> tuple[dict[str, Any], str]:
        """Write a tar, compressed or not, and give its sha256."""
        modified_s = int(self._modified.timestamp())
        headers = [header_bytes(one.path, one.size_bytes, modified_s) for one in self._named]
        members = (
            (header, one.source.path, one.size_bytes)
            for header, one in zip(headers, self._named, strict=True)
        )
        hashed = HashedFile(file)
        codec = _CODEC.get(self._params.format)
        if codec is None:
            write_tar(hashed, members, self._wrote)
            return {"methods": []}, hashed.sha256
        size_bytes = tar_bytes(headers, (one.size_bytes for one in self._named))
        level, cores = self._params.level, self._work.cores
        with packing(hashed, codec, level, cores=cores, size_bytes=size_bytes) as packer:
            write_tar(packer, members, self._wrote)
        return {"methods": [packer.method]}, hashed.sha256

    def _wrote(self, size_bytes: int) -> None:
        self._done_bytes += size_bytes
        self._work.tell(self._done_bytes, self.input_bytes)


OPERATION = Operation(
    name="archive",
    summary="Put many files into one zip or tar, compressed or not.",
    params=ArchiveParams,
    runs="process",
    accepts=("*/*",),
    run=archive,
    weight_ms=by_size(0.5, 25),
    joins=True,
    example={"format": "zip", "path": "{path}"},
)
