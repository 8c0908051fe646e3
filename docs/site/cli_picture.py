"""Takes the picture of the command line for README: `make cli-picture`.

The commands are run on a terminal of their own, right here, and what that shows at their end is
the picture: nothing in it is written by hand but the commands.
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


def taken_down(command: str, folder: Path) -> list[str]:
    """Run a command on a terminal; gives the lines that stand there at its end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    kept = {k: v for k, v in os.environ.items() if not k.startswith("OFFLOAD_")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
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
    except OSError:  # what Linux says where the other end is closed
        pass
    os.close(ours)
    running.wait()
    return shown(said.getvalue().decode())


def shown(said: str) -> list[str]:
    """Give the lines of a terminal on which this was written, colours left in them."""
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


def main() -> None:
    """Run them, and write the picture."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for photo, size in {"beach.jpg": (4000, 3000), "forest.jpg": (3000, 2000)}.items():
            photograph(*size).jpegsave(str(folder / photo), Q=90)
        (folder / "access.log").write_text("".join(islice(log_lines(), 40_000)))
        (folder / "notes.txt").write_text("no picture at all")
        for command in COMMANDS:
            console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
            for line in taken_down(command, folder):
                console.print(Text.from_ansi(line))
    picture = console.export_svg(title="offload", unique_id="offload")
    # Whoever looks at it asks nobody else for a font.
    OUT.write_text(re.sub(r"@font-face \{.*?\}\n*\s*", "", picture, flags=re.DOTALL), "utf-8")


if __name__ == "__main__":
    main()
