"""docs/concurrency.md: its programs run, what it names is there, its figures are the measured."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from app.cpu.kinds import LOST

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "concurrency.md").read_text()
RESULTS = (ROOT / "benchmarks" / "RESULTS.md").read_text()
PATTERNS = ROOT / "docs" / "patterns"

SAYS = {
    "ordered": """\
results: [1, None, 3]
errors: {1: "invalid literal for int() with base 10: 'two'"}
trap: all 3 done, says who never asked for a result
""",
    "producer_consumer": """\
errors: ['0', '50']
never far ahead: True
trap: a daemon thread saved nothing
a thread that is waited for: saved
""",
    "parallel_map": """\
primes: [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41]
errors: ['1 is below 2']
results: 40 of 40
trap: map gave 20 results, and an error
""",
    "executor_map": """\
LINE 0 after 8 of 1000 lines
all in order: True
trap: LINE 0 after 1000 of 1000 lines
""",
    "as_completed": """\
quick -> body of quick
bad -> no such host
slow -> body of slow
trap: of 500 that were submitted, 498 waited
""",
    "cpu_from_async": """\
sums: [285, 328350, 332833500]
trap: cancelled, and done to its end: True
""",
    "blocking_library": """\
in order: True at once: 4
trap: a look-up while the default executor is full: False
""",
    "bounded_gather": """\
at once: 10 bodies: 99
error: refused
trap: 0 answers when gather raised, and 2 at last
""",
    "background_task": """\
sent: ['ada'] errors: ['no address']
trap: Task exception was never retrieved
trap: Task was destroyed but it is pending!
""",
    "safe_pool": """\
a failure: Failed(kind='Odd', said='7: no')
its neighbour: 1024
a death is told: True
in a new one: 1024
trap: its neighbour ends with BrokenProcessPool
trap: a forked child gets a lock that its parent has let go: False
""",
}
"""What each program prints: its promise kept, and its trap shown."""


@pytest.mark.parametrize("name", SAYS)
def test_a_pattern_does_what_it_promises_and_its_trap_snaps(name: str) -> None:
    ended = subprocess.run(
        [sys.executable, PATTERNS / f"{name}.py"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, SAYS[name]), ended.stderr


def test_every_pattern_has_its_place_in_the_page() -> None:
    linked = re.findall(r"^\[`(\w+)\.py`\]\(patterns/\1\.py\): ", PAGE, re.MULTILINE)
    assert linked == list(SAYS)
    assert {path.stem for path in PATTERNS.glob("*.py")} == SAYS.keys()
    for start, end in pairwise([*re.finditer(r"^### \d+\. |^## What runs", PAGE, re.MULTILINE)]):
        told = PAGE[start.start() : end.start()]
        assert "- **Trap: " in told
        assert "- **Here:** " in told


def test_what_the_page_shows_of_a_program_stands_in_it() -> None:
    shown = re.findall(r"patterns/(\w+\.py)\): [^#]*?```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(shown) == PAGE.count("```python")
    for name, code in shown:
        assert _flat(code) in _flat((PATTERNS / name).read_text()), name


def _flat(code: str) -> str:
    """Give code without its layout, which depends on how deep it stands."""
    return re.sub(r"\s+|,(?=\s*[)\]])", "", code)


def test_the_functions_that_are_named_are_there() -> None:
    named = re.findall(r"`(app/[\w/]+\.py): ([\w.]+)`", PAGE)
    assert len(named) > 25
    for path, name in named:
        scope: list[ast.stmt] = ast.parse((ROOT / path).read_text()).body
        for part in name.split("."):
            found = [one for one in scope if getattr(one, "name", None) == part]
            assert found, f"{path}: {name}"
            scope = getattr(found[0], "body", [])
    for path in re.findall(r"`((?:app|tests)/[\w/]+\.py)`", PAGE):
        assert (ROOT / path).exists(), path


def test_each_figure_stands_in_the_entry_that_is_named_behind_it() -> None:
    cited = [*re.finditer(r"\(`([\w-]+)`, (\d{4}-\d\d-\d\d)\)", PAGE)]
    assert len(cited) > 10
    for at in cited:
        sentence = re.split(r"[.:;|] |\*\*|\n\n|\), ", PAGE[: at.start()])[-1].replace("\n", " ")
        figures = re.findall(r"\d[\d,]*(?:\.\d+)?", sentence)
        assert figures, sentence
        entry = _entries(*at.groups())
        for figure in figures:
            assert re.search(rf"(?<![\d.]){re.escape(figure.replace(',', ''))}(?![\d])", entry), (
                f"{figure} of: {sentence}"
            )


def _entries(name: str, day: str) -> str:
    """Give all that RESULTS.md has of a benchmark on a day."""
    runs = re.split(r"^## ", RESULTS, flags=re.MULTILINE)
    parts = [
        part
        for run in runs
        if run.startswith(day)
        for part in re.split(r"^### ", run, flags=re.MULTILINE)[1:]
        if part.startswith(f"{name}:")
    ]
    assert parts, (name, day)
    return "\n".join(parts)


def test_no_figure_is_without_its_entry() -> None:
    """Times and rates are measured, and say where; other numbers are settings or laws."""
    for paragraph in re.split(r"\n\n|\n(?=[|-] )", PAGE):
        if re.search(r"\d (?:us|ms|s|MB/s|cycles a second)\b", paragraph):
            assert re.search(
                r"\(`[\w-]+`, 20|tens of milliseconds|of 40 ms|hundred ms", paragraph
            ), paragraph


def test_links_lead_somewhere() -> None:
    anchors = {_anchor(title) for title in re.findall(r"^##+ (.+)$", PAGE, re.MULTILINE)}
    for path, anchor in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", PAGE):
        if path:
            assert (ROOT / "docs" / path).exists(), path
        elif anchor:
            assert anchor in anchors, anchor
    assert anchors >= {
        "a-web-server-with-many-requests", "files-to-download", "pictures", "a-background-task",
        "synchronous-code", "data", "compression",
    }  # fmt: skip
    for page in (ROOT / "docs").glob("*.md"):
        for anchor in re.findall(r"\]\(concurrency\.md#([\w-]+)\)", page.read_text()):
            assert anchor in anchors, f"{page}: {anchor}"


def _anchor(title: str) -> str:
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def test_all_that_threads_give_up_is_explained() -> None:
    [table] = re.findall(r"^\| name \| with processes.*?\n\n", PAGE, re.DOTALL | re.MULTILINE)
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(LOST)
