"""Records the command line for README: `make cli-picture`.

The commands are run on a terminal of their own, right here, and the picture plays what that showed,
when it showed it: nothing in it is written by hand but the commands. It is one SVG that moves by
CSS alone, and stands still at its last screen for whoever has asked for less motion.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.text import Text

from app.samples import log_lines, photograph

OUT = Path(__file__).parents[1] / "pictures" / "cli.svg"
COMMANDS = (
    "offload image beach.jpg forest.jpg --width 1600 --format webp",
    "offload compress access.log --format zstd",
    "offload archive *.webp access.log.zst -o take-home.zip",
    "offload image notes.txt",
)
COLUMNS, ROWS = 88, 24
CONTROL = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])|\r|\n")
EVERY_S = 0.1
"""No eye sees more screens than that, and each is a few hundred bytes."""
READ_S = 1.2
"""For reading a command before it runs, and what came of it after."""
END_S = 6.0
"""The last screen stands for so long before all begins anew."""

Screen = list[str]
"""Lines as they stand on a terminal, colours left in them."""


@dataclass
class Run:
    """A line that stood in one place for a while."""

    row: int
    line: str
    begin_s: float
    end_s: float


# -- recording -----------------------------------------------------------------------------------


def recorded(folder: Path) -> Iterator[tuple[float, Screen]]:
    """Run all commands; gives each screen, with when it was first seen, and at last when all ends.

    What a terminal shows of a command is below the prompts and the last words of those before it.
    """
    above: Screen = []
    now_s = 0.0
    for command in COMMANDS:
        above.append(f"\x1b[1;32m$\x1b[0m \x1b[1m{command}\x1b[0m")
        yield now_s, above
        now_s += READ_S
        lines: Screen = []
        for at_s, lines in taken_down(command, folder):
            yield now_s + at_s, above + lines
        now_s += at_s + READ_S
        above = above + lines
    yield now_s + END_S - READ_S, above


def taken_down(command: str, folder: Path) -> Iterator[tuple[float, Screen]]:
    """Run a command on a terminal; gives its lines now and then, and at its end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    kept = {k: v for k, v in os.environ.items() if not k.startswith("OFFLOAD_")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    began_s = shown_s = time.monotonic()
    running = subprocess.Popen(
        ["bash", "-c", command],
        cwd=folder,
        env=kept | {"PATH": path, "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = io.BytesIO()
    try:
        while piece := os.read(ours, 1 << 16):
            said.write(piece)
            if time.monotonic() - shown_s >= EVERY_S:
                shown_s = time.monotonic()
                yield shown_s - began_s, shown(said.getvalue().decode(errors="ignore"))
    except OSError:  # what Linux says where the other end is closed
        pass
    os.close(ours)
    running.wait()
    yield time.monotonic() - began_s, shown(said.getvalue().decode())


def shown(said: str) -> Screen:
    """Give the lines of a terminal on which this was written."""
    lines, row, end = [""], 0, 0
    for control in CONTROL.finditer(said):
        lines[row] += said[end : control.start()]
        end = control.end()
        if control[0] == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif control[2] == "A":
            row = max(row - int(control[1] or 1), 0)
        elif control[2] == "K":
            lines[row] = ""
        elif control[2] == "m":
            lines[row] += control[0]
    lines[row] += said[end:]
    return [line for line in lines if CONTROL.sub("", line).strip()]


def runs_of(screens: Sequence[tuple[float, Screen]]) -> list[Run]:
    """Give every line with the time for which it stood: most screens differ in one."""
    standing: dict[int, Run] = {}
    runs: list[Run] = []
    for at_s, screen in screens:
        for row in range(max(len(screen), len(standing))):
            line = screen[row] if row < len(screen) else ""
            before = standing.get(row)
            if before is None or before.line != line:
                standing[row] = Run(row, line, at_s, at_s)
                runs.append(standing[row])
                if before is not None:
                    before.end_s = at_s
    for run in standing.values():
        run.end_s = screens[-1][0]
    return [run for run in runs if run.line and run.end_s > run.begin_s]


# -- drawing -------------------------------------------------------------------------------------


def drawn(runs: Sequence[Run], all_s: float) -> str:
    """Give the SVG: rich draws each line and the window, and each line has its time."""
    lines, parts = _by_line([run.line for run in runs], max(run.row for run in runs) + 2)
    height = float(parts["line_height"])
    times = dict.fromkeys((run.begin_s, run.end_s) for run in runs)
    names = {one: f"t{number}" for number, one in enumerate(times)}
    frames = "".join(
        f"@keyframes {name}{{{_keyframes(begin_s / all_s, end_s / all_s)}}}\n"
        f".lines > .{name}{{animation-name:{name}}}\n"
        for (begin_s, end_s), name in names.items()
    )
    shown_lines = "\n".join(
        f'<g class="{names[run.begin_s, run.end_s]}{" last" if run.end_s == all_s else ""}" '
        f'transform="translate(0 {(run.row - number) * height:g})">{line}</g>'
        for number, (run, line) in enumerate(zip(runs, lines, strict=True))
    )
    return f"""<svg viewBox="0 0 {parts["width"]} {parts["height"]}" xmlns="http://www.w3.org/2000/svg">
<title>{", ".join(COMMANDS).replace("&", "&amp;").replace("<", "&lt;")}</title>
<style>
.lines {{ font: {parts["char_height"]}px/{parts["line_height"]}px Fira Code, monospace }}
.offload-title {{ font: bold 18px arial }}
.lines > g {{ opacity: 0; animation: none {all_s:.2f}s steps(1, end) infinite }}
{frames}{parts["styles"]}
@media (prefers-reduced-motion: reduce) {{
.lines > g[class] {{ animation-name: none }}
.lines > .last[class] {{ opacity: 1 }}
}}
</style>
{parts["chrome"]}
<g class="lines" transform="translate({parts["terminal_x"]}, {parts["terminal_y"]})">
{shown_lines}
</g>
</svg>
"""


def _keyframes(begin: float, end: float) -> str:
    before = "0%{opacity:0}" if begin else ""
    after = f"{100 * end:.3f}%{{opacity:0}}" if end < 1 else ""
    return f"{before}{100 * begin:.3f}%{{opacity:1}}{after}"


PARTS = (
    "width", "height", "char_height", "line_height", "terminal_x", "terminal_y",
    "chrome", "styles", "matrix",
)  # fmt: skip
"""Of what rich draws; it knows them by these names."""


def _exported(lines: Sequence[str]) -> dict[str, str]:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for line in lines:
        console.print(Text.from_ansi(line), no_wrap=True, crop=True)
    template = "\0".join(f"{{{name}}}" for name in PARTS)
    said = console.export_svg(title="offload", unique_id="offload", code_format=template)
    return dict(zip(PARTS, said.split("\0"), strict=True))


def _by_line(lines: Sequence[str], rows: int) -> tuple[list[str], dict[str, str]]:
    """Give how each line is drawn as that of its number, and all else: a window of so many rows."""
    tall = _exported(lines)
    found = [""] * len(lines)
    pattern = r'<text [^>]*clip-path="url\(#offload-line-(\d+)\)"[^>]*>.*?</text>'
    for text in re.finditer(pattern, tall["matrix"]):
        found[int(text[1])] += re.sub(r' clip-path="[^"]*"', "", text[0])
    return found, _exported([""] * rows) | {"styles": tall["styles"]}


def main() -> None:
    """Run them, and write the picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for photo, size in {"beach.jpg": (4000, 3000), "forest.jpg": (3000, 2000)}.items():
            photograph(*size).jpegsave(str(folder / photo), Q=90)
        (folder / "access.log").write_text("".join(islice(log_lines(), 40_000)))
        (folder / "notes.txt").write_text("no picture at all")
        screens = list(recorded(folder))
    OUT.write_text(drawn(runs_of(screens), screens[-1][0]), "utf-8")


if __name__ == "__main__":
    main()
