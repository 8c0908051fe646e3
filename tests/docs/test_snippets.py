"""Every block of every page that could be executed is: here, or by a test that is named."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import LOOPBACK
from tests.docs.reader import PAGES, ROOT, Block, blocks, read
from tests.service import Service

RUN_HERE = (
    "README.md",
    "docs/first-five-minutes.md",
    "docs/api.md",
    "docs/recipes/avatar-pipeline.md",
    "docs/recipes/log-archive.md",
    "docs/recipes/mirror-urls.md",
)
RUN_BY = {
    ("clients/python/README.md", "python"): (1, "tests/client/test_snippets.py"),
    ("docs/client.md", "python"): (6, "tests/client/test_snippets.py"),
    ("docs/cli.md", "console"): (1, "tests/client/test_snippets.py"),
    ("docs/concurrency.md", "python"): (4, "tests/docs/test_concurrency.py"),
    ("docs/scaling.md", "sh"): (2, "tests/docs/test_scaling.py"),
    ("docs/recipes/browser-uploads.md", "html"): (2, "tests/docs/test_browser_uploads.py"),
    ("docs/recipes/browser-uploads.md", "python"): (1, "tests/docs/test_browser_uploads.py"),
    ("docs/webhooks.md", "python"): (1, "tests/docs/test_webhooks.py"),
    ("docs/webhooks.md", "sh"): (1, "tests/docs/test_webhooks.py"),
}
"""How many blocks of a language another test takes from a page."""

ALL = [block for page in PAGES for block in blocks(page)]


def test_no_block_is_run_by_nobody() -> None:
    rest = Counter(
        (block.page, block.language)
        for block in ALL
        if block.not_run is None and block.page not in RUN_HERE
    )
    assert rest == {where: count for where, (count, _) in RUN_BY.items()}, (
        "a block is new: put its page into RUN_HERE, have a test of its own run it and name it in "
        "RUN_BY, or write `<!-- not run: why -->` above it"
    )


@pytest.mark.parametrize(
    ("page", "test"), sorted({(where[0], by) for where, (_, by) in RUN_BY.items()})
)
def test_who_runs_it_reads_that_page(page: str, test: str) -> None:
    assert Path(page).name in (ROOT / test).read_text()


def test_what_is_not_run_has_a_reason() -> None:
    assert all(len(block.not_run.split()) > 2 for block in ALL if block.not_run is not None)
    assert {block.page for block in ALL} >= set(RUN_HERE)
    for block in ALL:
        for path in re.findall(r"\btests/[\w/.]+\w", block.not_run or ""):
            assert (ROOT / path).exists(), f"{block.page}: {path}"


@pytest.fixture(scope="module")
def offload(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service.started(
        tmp_path_factory.mktemp("reader"), {"OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK}
    ) as service:
        yield service


@pytest.mark.parametrize("page", RUN_HERE)
def test_what_the_page_shows_is_what_happens(
    page: str, tmp_path: Path, offload: Service, origin: str, photo: bytes, text: bytes
) -> None:
    (tmp_path / "logs").mkdir()
    for name, content in {
        "photo.jpg": photo,
        "access.log": text,
        "logs/a.log": text,
        "logs/b.log": text[::-1],
    }.items():
        (tmp_path / name).write_bytes(content)
    shown: list[Block] = [one for one in ALL if one.page == page and one.not_run is None]
    read(shown, tmp_path, {"http://127.0.0.1:8000": offload.url, "https://example.com": origin})
