"""The demonstration, run as a user runs it."""

import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

OFFLOAD = Path(sys.executable).with_name("offload")

SUCCEEDS = {
    ("compress gzip", "access.log"): "access.log.gz",
    ("compress zlib", "access.log"): "access.log.zz",
    ("compress deflate-raw", "access.log"): "access.log.deflate",
    ("compress zstd", "access.log"): "access.log.zst",
    ("image jpeg", "photo.jpg"): "photo.jpg",
    ("image webp", "photo.jpg"): "photo.webp",
    ("image avif", "photo.jpg"): "photo.avif",
    # Which format wins depends on how many could be tried in time.
    ("optimize", "hero.jpg"): "hero.*",
    **{("fetch", f"/page-{n}.html"): f"page-{n}.html" for n in range(1, 8)},
    ("fetch", "/moved"): "page-1.html",
    ("fetch > image > compress", "/photo.jpg"): "photo.webp.zst",
    ("fetch > archive", "8 URLs"): "pages.tar.zst",
}
FAILS = {("fetch", "/missing"): "fetch.status", ("fetch", "/cut"): "fetch.truncated"}


def demo(temporary, *arguments):
    return subprocess.run(
        [OFFLOAD, "demo", *arguments],
        # A key of the caller's own service must not lock the demonstration's client out.
        env=os.environ
        | {"TMPDIR": str(temporary), "OFFLOAD_API_KEYS": '{"a": "a-secret-of-the-env"}'},
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
    )


@pytest.fixture(scope="module")
def temporary(tmp_path_factory):
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept") / "here"


@pytest.fixture(scope="module")
def finished(temporary, kept):
    return demo(temporary, "--keep", kept)


@pytest.fixture
def rows(finished):
    lines = finished.stdout.partition("\n\n")[0].splitlines()
    _header, _rule, *cells = [re.split(r" {2,}", line) for line in lines]
    return {(job, source): rest for job, source, *rest in cells}


def test_it_succeeds_and_complains_of_nothing(finished):
    assert (finished.returncode, finished.stderr) == (0, "")


def test_the_table_has_a_row_for_each_result_and_each_failure(rows):
    assert rows.keys() == SUCCEEDS.keys() | FAILS.keys()


@pytest.mark.parametrize(("row", "name"), SUCCEEDS.items())
def test_a_row_names_its_result_with_sizes_and_time(rows, row, name):
    source_size, result, result_size, outcome, took = rows[row]
    assert fnmatch(result, name)
    for size in (source_size, result_size):
        assert re.fullmatch(r"\d+\.\d+ [kM]B", size)
    expected = {
        "optimize": r"\d+ % less",
        "compress": r"\d+\.\d\d : 1",
        "image": "4000x3000 -> 800x600",
        "fetch": r"200( after 1 redirect)?|4000x3000 -> 800x600|7 files",
    }
    assert re.fullmatch(expected[row[0].split()[0]], outcome)
    assert re.fullmatch(r"\d+\.\d\d s", took)


@pytest.mark.parametrize(("row", "code"), FAILS.items())
def test_a_bad_url_shows_its_code(rows, row, code):
    assert rows[row][:-1] == ["-", "-", "-", code]


def test_inputs_and_results_are_kept_where_asked_and_nothing_else_anywhere(
    finished, temporary, kept
):
    assert {path.name for path in (kept / "inputs").iterdir()} == {"access.log", "photo.jpg"}
    results = {path.name for path in (kept / "results").iterdir()}
    assert all(any(fnmatch(name, as_named) for as_named in SUCCEEDS.values()) for name in results)
    assert len(results) == len(set(SUCCEEDS.values()))
    assert {path.name for path in kept.iterdir()} == {"inputs", "results"}
    assert list(temporary.iterdir()) == []


def test_it_says_what_is_wrong_and_fails(tmp_path):
    (tmp_path / "taken").write_text("a file, not a folder")
    failed = demo(tmp_path, "--keep", tmp_path / "taken")
    assert failed.returncode == 1
    assert "taken" in failed.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
