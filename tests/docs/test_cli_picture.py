"""README's recording of the command line: one picture that plays by itself and asks for nothing."""

import re
import runpy
import xml.etree.ElementTree as ET

from tests.docs.reader import ROOT

PICTURE = (ROOT / "docs" / "pictures" / "cli.svg").read_text()
RECORDER = runpy.run_path(str(ROOT / "docs" / "site" / "cli_picture.py"))
SVG = "{http://www.w3.org/2000/svg}"


def lines_of(root: ET.Element, group: str) -> list[str]:
    found = root.iterfind(f".//{SVG}g[@class='lines']/{SVG}g")
    return [
        "".join(one.itertext()).replace("\u00a0", " ")
        for one in found
        if group in one.get("class", "").split() or not group
    ]


def test_it_shows_the_commands_and_ends_with_all_of_them() -> None:
    root = ET.fromstring(PICTURE)
    prompts = [f"${command}" for command in RECORDER["COMMANDS"]]
    last = lines_of(root, "last")
    assert [line for line in last if line.startswith("$")] == prompts
    assert any("[image.unsupported]" in line for line in last)
    assert len(lines_of(root, "")) > len(last)


def test_it_moves_by_styles_alone_and_not_for_everybody() -> None:
    names = set(re.findall(r"@keyframes (\w+)", PICTURE))
    assert names == set(re.findall(r"animation-name:(\w+)", PICTURE))
    assert "prefers-reduced-motion" in PICTURE
    assert "script" not in PICTURE
    assert re.findall(r"https?://[^\"' )]+", PICTURE) == ["http://www.w3.org/2000/svg"]


def test_a_line_stands_until_another_stands_there() -> None:
    screens = [(0.0, ["a"]), (1.0, ["a", "b"]), (2.0, ["c", "b"]), (3.0, ["c"]), (4.0, ["c"])]
    runs = [vars(run) for run in RECORDER["runs_of"](screens)]
    assert runs == [
        {"row": 0, "line": "a", "begin_s": 0.0, "end_s": 2.0},
        {"row": 1, "line": "b", "begin_s": 1.0, "end_s": 3.0},
        {"row": 0, "line": "c", "begin_s": 2.0, "end_s": 4.0},
    ]
