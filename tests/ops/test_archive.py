import hashlib
import io
import random
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from app.errors import MemberNameTaken, MemberPathUnsafe, NoSources
from app.ops.archive import OPERATION, ArchiveParams, archive
from app.ops.archives.zip_writer import ZipWriter
from app.ops.base import Limits, Source, Work
from app.ops.extract import ExtractParams, extract
from app.ops.media_type import HEAD_BYTES, sniff

FORMATS = ("zip", "tar", "tar.gz", "tar.zst", "tar.xz", "tar.bz2", "tar.lz4")
DICE = random.Random(11)
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + b"the same again and again " * 400
FILES = {
    "read me.txt": b"hello\n" * 50,
    "empty": b"",
    "photos/2024/a.jpg": JPEG,
    "photos/notes.txt": "".join(f"row {n}\n" for n in range(2_000)).encode(),
    "Größe/日本.bin": DICE.randbytes(300_000),
    "long/" * 30 + "n" * 200 + ".txt": b"far down",
}
LARGE = {
    "large.log": "".join(f"{n} GET /index {n * n}\n" for n in range(250_000)).encode(),
    "large.bin": DICE.randbytes(5_000_000),
    "large.jpg": JPEG[:11] + DICE.randbytes(4_500_000),
    "small.txt": b"in between",
}


@pytest.fixture
def make(tmp_path):
    """Archive files, given as pairs of name and content, and give the whole result."""
    made = 0

    def make(files, cores=1, tell=None, **params):
        nonlocal made
        made += 1
        base = tmp_path / f"job{made}"
        folder = base / "folder"
        folder.mkdir(parents=True)
        sources = []
        for number, (name, content) in enumerate(
            files.items() if isinstance(files, dict) else files
        ):
            path = base / str(number)
            path.write_bytes(content)
            sources.append(Source(path, name, sniff(content[:HEAD_BYTES]), len(content)))
        work = Work(
            tuple(sources), folder, Limits(), tell or (lambda _done, _total: None), lambda: cores
        )
        result = archive(work, ArchiveParams(**params))
        (output,) = result.outputs
        assert output.path.parent == folder
        if output.sha256 is not None:
            assert output.sha256 == hashlib.sha256(output.path.read_bytes()).hexdigest()
        return result

    return make


def path_of(result):
    return result.outputs[0].path


def names_in(result) -> list[str]:
    with zipfile.ZipFile(path_of(result)) as opened:
        return opened.namelist()


def opened_by_python(path) -> dict[str, bytes]:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as opened:
            assert opened.testzip() is None
            return {name: opened.read(name) for name in opened.namelist()}
    data = path.read_bytes()
    if path.suffix in (".zst", ".lz4"):
        data = decompressed(path)
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        return {member.name: opened.extractfile(member).read() for member in opened}


def decompressed(path) -> bytes:
    if path.suffix == ".lz4":
        import lz4.frame

        return lz4.frame.decompress(path.read_bytes())
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.decompress(path.read_bytes())


def unpacked_by(command, result, folder) -> dict[str, bytes]:
    folder.mkdir()
    subprocess.run(
        [part.format(archive=path_of(result), folder=folder) for part in command],
        check=True,
        capture_output=True,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
    )
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# -- what others make of it ----------------------------------------------------------------------


@pytest.mark.parametrize("chosen", FORMATS)
def test_python_reads_it(make, chosen):
    result = make(FILES, format=chosen)
    assert opened_by_python(path_of(result)) == FILES
    assert result.outputs[0].name == f"archive.{chosen}"


TOOLS = [
    ("zip", ["unzip", "-q", "{archive}", "-d", "{folder}"]),
    ("tar", ["tar", "-xf", "{archive}", "-C", "{folder}"]),
    ("tar.gz", ["tar", "-xf", "{archive}", "-C", "{folder}"]),
    ("tar.xz", ["tar", "-xf", "{archive}", "-C", "{folder}"]),
    ("tar.bz2", ["tar", "-xf", "{archive}", "-C", "{folder}"]),
    *((chosen, ["bsdtar", "-xf", "{archive}", "-C", "{folder}"]) for chosen in FORMATS),
    ("zip", ["7z", "x", "-o{folder}", "{archive}"]),
    ("tar", ["7z", "x", "-o{folder}", "{archive}"]),
]


@pytest.mark.parametrize(("chosen", "command"), TOOLS)
def test_other_tools_read_it(make, tmp_path, chosen, command):
    if not shutil.which(command[0]):
        pytest.skip(f"no {command[0]}")
    result = make(FILES, format=chosen)
    assert unpacked_by(command, result, tmp_path / "unpacked") == FILES


def test_unzip_finds_nothing_wrong_with_large_members(make):
    result = make(LARGE)
    tested = subprocess.run(
        ["unzip", "-t", path_of(result)], capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0, tested.stdout
    assert opened_by_python(path_of(result)) == LARGE


@pytest.mark.parametrize("chosen", FORMATS)
def test_extract_gives_back_what_went_in(make, make_work, chosen):
    work = make_work(path_of(make(FILES, format=chosen)).read_bytes())
    result = extract(work, ExtractParams())
    assert {output.name: output.path.read_bytes() for output in result.outputs} == FILES
    assert result.refused == ()


def test_a_single_empty_file_is_packed(make):
    for chosen in FORMATS:
        result = make({"empty": b""}, format=chosen)
        assert opened_by_python(path_of(result)) == {"empty": b""}
        assert result.facts["ratio"] is None


# -- the same bytes ------------------------------------------------------------------------------


@pytest.mark.parametrize("chosen", FORMATS)
def test_the_same_files_give_the_same_bytes_however_many_cores(make, chosen):
    files = FILES | ({"large.log": LARGE["large.log"]} if chosen != "tar.xz" else {})
    first, second = (
        path_of(make(files, cores, format=chosen, level="fast" if chosen != "tar" else "balanced"))
        for cores in (1, 3)
    )
    assert first.read_bytes() == second.read_bytes()


def test_members_carry_no_time_unless_asked(make):
    with zipfile.ZipFile(path_of(make(FILES))) as opened:
        assert {info.date_time for info in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.external_attr >> 16 for info in opened.infolist()} == {0o100644}
    with tarfile.open(path_of(make(FILES, format="tar"))) as opened:
        members = opened.getmembers()
        assert {(m.mtime, m.uid, m.uname, m.mode) for m in members} == {(315532800, 0, "", 0o644)}


@pytest.mark.parametrize("chosen", ["zip", "tar"])
def test_without_determinism_members_carry_the_time_of_packing(make, chosen):
    before = datetime.now(UTC).timestamp()
    path = path_of(make({"a": b"x"}, format=chosen, deterministic="false"))
    after = datetime.now(UTC).timestamp()
    if chosen == "zip":
        with zipfile.ZipFile(path) as opened:
            made = datetime(*opened.infolist()[0].date_time, tzinfo=UTC).timestamp()
    else:
        with tarfile.open(path) as opened:
            made = opened.getmembers()[0].mtime
    assert before - 2 <= made <= after


# -- how it is compressed ------------------------------------------------------------------------


def test_what_is_compressed_already_is_stored(make):
    """By its type, even though this one would shrink; and what does not shrink, by trying."""
    result = make(FILES | LARGE)
    with zipfile.ZipFile(path_of(result)) as opened:
        stored = {i.filename for i in opened.infolist() if i.compress_type == zipfile.ZIP_STORED}
        assert all(i.compress_size <= i.file_size for i in opened.infolist())
    assert stored == {
        "empty",
        "photos/2024/a.jpg",
        "Größe/日本.bin",
        "long/" * 30 + "n" * 200 + ".txt",
        "large.jpg",
        "large.bin",
        "small.txt",
    }
    assert result.facts["stored"] == len(stored)


def test_facts_tell_what_was_done(make):
    result = make(FILES)
    content_bytes = sum(map(len, FILES.values()))
    assert result.facts == {
        "format": "zip",
        "level": "balanced",
        "methods": ["libdeflate 6", "stored"],
        "entries": 6,
        "stored": 4,
        "renamed": 0,
        "input_bytes": content_bytes,
        "ratio": round(content_bytes / path_of(result).stat().st_size, 3),
    }


@pytest.mark.parametrize("chosen", [chosen for chosen in FORMATS if chosen != "tar"])
def test_levels_differ_in_size(make, chosen):
    words = ["".join(DICE.choices("etaoinshr", k=DICE.randint(2, 9))) for _ in range(3_000)]
    content = {"a.txt": " ".join(DICE.choices(words, k=150_000)).encode()}
    fast, best = (
        path_of(make(content, format=chosen, level=level)).stat().st_size for level in ("fast", "9")
    )
    assert best < fast


@pytest.mark.parametrize(
    ("chosen", "level"),
    [("zip", 0), ("zip", 10), ("tar.zst", 23), ("tar.xz", 10), ("tar", 1), ("tar", "fast")],
)
def test_a_level_that_the_format_does_not_have_is_refused(chosen, level):
    with pytest.raises(ValidationError, match="level"):
        ArchiveParams(format=chosen, level=level)


def test_progress_counts_the_input_up_to_its_end(make):
    total = sum(map(len, LARGE.values()))
    for chosen in ("zip", "tar.zst"):
        told = []
        make(LARGE, format=chosen, tell=lambda *now, told=told: told.append(now))
        assert told == sorted(told)
        assert told[-1] == (total, total)


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("{path}", ["a/b/one.tar.gz", "two", ".hidden"]),
        ("{name}", ["one.tar.gz", "two", ".hidden"]),
        ("x/{folder}{stem}-{index}{ext}", ["x/a/b/one-1.tar.gz", "x/two-2", "x/.hidden-3"]),
        ("{index:03}{ext}", ["001.tar.gz", "002", "003"]),
        ("{index:2}.x", [" 1.x", " 2.x", " 3.x"]),
        ("{{{name}}}", ["{one.tar.gz}", "{two}", "{.hidden}"]),
        ("same", ["same", "same (2)", "same (3)"]),
        ("{ext}", [".tar.gz", "two", ".hidden"]),
    ],
)
def test_the_template_names_the_members(make, template, names):
    files = {"a/b/one.tar.gz": b"1", "two": b"2", ".hidden": b"3"}
    assert names_in(make(files, path=template)) == names


@pytest.mark.parametrize(
    "template",
    [
        "",
        "{nope}",
        "{name.__class__}",
        "{name[0]}",
        "{}",
        "{0}",
        "{name!r}",
        "{name:10}",
        "{index:{name}}",
        "{index:0999999999}",
        "{name",
        "name}",
        "/{name}",
        "../{name}",
        "a/../{name}",
        "C:/{name}",
        "{folder}",
        "{name}/",
        "a\0{name}",
        "x" * 501,
    ],
)
def test_a_template_that_names_no_file_is_refused_at_once(template):
    with pytest.raises(ValidationError) as caught:
        ArchiveParams(path=template)
    assert caught.value.errors()[0]["loc"] == ("path",)


def test_names_that_collide_are_numbered(make):
    files = [
        ("a.txt", b"1"),
        ("a.txt", b"2"),
        ("A.TXT", b"3"),
        ("e\u0301", b"4"),
        ("é", b"5"),
        ("x/y", b"6"),
        ("x", b"7"),
        ("X/Y/z", b"8"),
    ]
    result = make(files)
    assert opened_by_python(path_of(result)) == {
        "a.txt": b"1",
        "a (2).txt": b"2",
        "A (3).TXT": b"3",
        "é": b"4",
        "é (2)": b"5",
        "x/y": b"6",
        "x (2)": b"7",
        "x/Y (2)/z": b"8",
    }
    assert result.facts["renamed"] == 5


@pytest.mark.parametrize("names", [["a", "a"], ["a", "A"], ["a", "a/b"], ["a/b", "a"]])
def test_names_that_collide_can_be_an_error(make, names):
    with pytest.raises(MemberNameTaken):
        make([(name, b"x") for name in names], on_collision="error")
    assert names_in(make([("a", b""), ("b/c", b""), ("b/d", b"")], on_collision="error"))


def test_many_equal_names_take_no_longer_than_others(make):
    names = names_in(make([("same.txt", b"")] * 3_000))
    assert names[-1] == "same (3000).txt"
    assert len(set(names)) == 3_000


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("..\\..\\x", "x"),
        ("a/../b", "a/b"),
        ("C:\\x", "C_/x"),
        ("..", "file"),
        ("", "file"),
        ("nul.txt", "_nul.txt"),
        ("a\nb", "a_b"),
        ("x" * 300 + ".jpg", "x" * 251 + ".jpg"),
    ],
)
@pytest.mark.parametrize("chosen", ["zip", "tar"])
def test_no_name_leaves_the_folder_that_it_is_unpacked_in(make, chosen, name, inside):
    result = make({name: b"x"}, format=chosen)
    assert opened_by_python(path_of(result)) == {inside: b"x"}


def test_a_file_that_cannot_be_named_is_left_out_alone(make):
    deep = "x/" * 70 + "y"
    result = make({deep: b"1", "good": b"2"})
    assert names_in(result) == ["good"]
    assert [(r.name, r.code) for r in result.refused] == [(deep, "archive.unsafe_path")]
    with pytest.raises(MemberPathUnsafe):
        make({deep: b"1"})


def test_only_names_beyond_ascii_are_marked_as_utf8(make):
    with zipfile.ZipFile(path_of(make({"a": b"", "é": b""}))) as opened:
        assert {i.filename: i.flag_bits for i in opened.infolist()} == {"a": 0, "é": 1 << 11}


@pytest.mark.parametrize(
    ("given", "name"),
    [("photos", "photos.zip"), ("photos.zip", "photos.zip"), ("v1.2", "v1.2.zip"), ("é", "é.zip")],
)
def test_the_archive_is_named_as_asked(make, given, name):
    result = make({"a": b""}, name=given)
    assert (result.outputs[0].name, result.outputs[0].media_type) == (name, "application/zip")


@pytest.mark.parametrize("name", ["", "a/b", "..", "a\\b", "con", "a\nb", "x" * 201, "a:b"])
def test_a_name_that_is_no_file_name_is_refused(name):
    with pytest.raises(ValidationError):
        ArchiveParams(name=name)


def test_it_joins_and_needs_something_to_join(make):
    assert OPERATION.joins
    with pytest.raises(NoSources):
        make({})


# -- zip64 ---------------------------------------------------------------------------------------


def written(file, add) -> None:
    epoch = datetime(1980, 1, 1, tzinfo=UTC)
    with ZipWriter(file, "fast", epoch, lambda: 1, lambda _: None) as writer:
        add(writer)


def test_small_zips_have_nothing_of_zip64(make):
    content = path_of(make(FILES)).read_bytes()
    assert b"PK\6\6" not in content
    assert b"PK\6\7" not in content
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        assert {info.extract_version for info in opened.infolist()} == {20}
        assert all(info.extra == b"" for info in opened.infolist())


def test_zip64_comes_with_the_entries_that_need_it(tmp_path):
    count = 65_535
    (tmp_path / "empty").touch()
    path = tmp_path / "many.zip"

    def add(writer):
        for number in range(count):
            writer.add(tmp_path / "empty", f"{number}", deflated=False)

    with path.open("xb") as file:
        written(file, add)
    assert b"PK\6\6" in path.read_bytes()
    with zipfile.ZipFile(path) as opened:
        assert len(opened.namelist()) == count
    tested = subprocess.run(["unzip", "-qt", path], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout[-500:]


def test_zip64_comes_with_the_place_that_needs_it(tmp_path):
    """A member behind 4 GiB; what is before it is a hole."""
    (tmp_path / "a").write_bytes(b"content" * 100)
    path = tmp_path / "far.zip"
    with path.open("xb") as file:
        # So that the second is at the first place which 32 bits cannot say.
        file.seek((1 << 32) - 1 - 49)

        def add(writer):
            for name in ("near", "far"):
                writer.add(tmp_path / "a", name, deflated=True)

        written(file, add)
    with zipfile.ZipFile(path) as opened:
        assert opened.testzip() is None
        near, far = opened.infolist()
        assert (near.extra, near.extract_version) == (b"", 20)
        assert struct.unpack("<HHQ", far.extra) == (1, 8, far.header_offset)
        assert far.header_offset == (1 << 32) - 1


# -- memory --------------------------------------------------------------------------------------

MEASURE = """
import sys
from pathlib import Path
from app.ops.archive import ArchiveParams, archive
from app.ops.base import Limits, Source, Work
from tests.memory import peak_kib
folder = Path(sys.argv[1])
sources = [Source(path, path.name, "text/plain", 0) for path in sorted(folder.iterdir())]
(folder / "made").mkdir()
before = peak_kib()
archive(Work(tuple(sources), folder / "made", Limits()), ArchiveParams(format=sys.argv[2]))
print(peak_kib() - before)
"""


@pytest.mark.parametrize("chosen", ["zip", "tar", "tar.gz", "tar.zst"])
def test_memory_stays_flat(tmp_path, chosen):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(90_000_000)
    for number in range(20):
        (tmp_path / f"{number}").write_bytes(bytes(3_000_000))
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path, chosen],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(ran.stdout) < 64_000, "KiB"
