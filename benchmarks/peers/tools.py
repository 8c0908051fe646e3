"""The command line tools, no service around them: a file in, a file out; or URLs in, files out."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Task

_ZLIB_9 = (
    "import sys, zlib; from pathlib import Path; "
    "sys.stdout.buffer.write(zlib.compress(Path(sys.argv[-1]).read_bytes(), 9))"
)


@dataclass(frozen=True, slots=True)
class Tool:
    """A command; one that compresses writes the file named last to its standard output."""

    name: str
    """As the tables show it: the program and what tells its runs apart."""
    command: tuple[str, ...]
    package: str = ""
    """Debian's; none for what comes with Python."""

    @property
    def program(self) -> str:
        """What must be on the PATH."""
        return self.command[0]

    @property
    def installed(self) -> bool:
        """Whether it can be run here."""
        return shutil.which(self.program) is not None


def _tool(line: str, package: str, *quiet: str) -> Tool:
    return Tool(line, (*line.split(), *quiet, "-c"), package)


PIGZ_6 = _tool("pigz -6 -p2", "pigz")
PIGZ_9 = _tool("pigz -9 -p2", "pigz")
IGZIP = _tool("igzip -1", "isal")
ZSTD = _tool("zstd -3 -T2", "zstd", "-q")
XZ = _tool("xz -6 -T2", "xz-utils")
BZIP2 = _tool("bzip2 -9", "bzip2")
LBZIP2 = _tool("lbzip2 -9 -n2", "lbzip2")
LZ4 = _tool("lz4 -1", "lz4", "-q")
BROTLI = _tool("brotli -q 5", "brotli")
STDLIB_ZLIB = Tool("stdlib zlib 9", (sys.executable, "-c", _ZLIB_9))

CURL = Tool("curl --parallel", ("curl", "--parallel"), "curl")
ARIA2 = Tool("aria2c", ("aria2c",), "aria2")

PACKAGED = (PIGZ_6, PIGZ_9, IGZIP, ZSTD, XZ, BZIP2, LBZIP2, LZ4, BROTLI, CURL, ARIA2)


def compressing(tool: Tool, source: Path, folder: Path) -> Task:
    """Make the work of a closed loop: one run of the tool, from the file into a file.

    The result is left to the page cache, where ours is synced to disk, and removed.
    """

    async def once(number: int) -> None:
        target = folder / f"by-a-tool-{number}"
        try:
            with target.open("xb") as output:
                command = (*tool.command, str(source))
                process = await asyncio.create_subprocess_exec(
                    *command, stdin=asyncio.subprocess.DEVNULL, stdout=output
                )
                try:
                    code = await process.wait()
                finally:
                    if process.returncode is None:
                        process.kill()
            if code:
                raise RuntimeError(f"{tool.name} exited with {code}.")
        finally:
            target.unlink(missing_ok=True)

    return once


def result_bytes(tool: Tool, source: Path) -> int:
    """Run the tool once and give the size of what it makes."""
    ended = subprocess.run((*tool.command, str(source)), check=True, stdout=subprocess.PIPE)
    return len(ended.stdout)


def decompressed(tool: Tool, data: bytes) -> bytes:
    """Undo a compression with the ordinary tool of its format."""
    command = (tool.program, "-dc")
    return subprocess.run(command, input=data, check=True, stdout=subprocess.PIPE).stdout


def versions() -> dict[str, str]:
    """Give what each installed tool says of itself."""
    found = {}
    for tool in PACKAGED:
        if tool.installed and tool.program not in found:
            found[tool.program] = _version((tool.program, "--version"))
    return found


def _version(command: Sequence[str]) -> str:
    asked = subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"LC_ALL": "C"},
    )
    number = re.search(rb"\d+\.\d+(\.\d+)*", asked.stdout)
    return number[0].decode() if number else "of unknown version"


def missing() -> list[str]:
    """Name the programs that are not installed."""
    return list(dict.fromkeys(tool.program for tool in PACKAGED if not tool.installed))


def missing_packages() -> list[str]:
    """Name Debian's packages that have those."""
    return list(dict.fromkeys(tool.package for tool in PACKAGED if not tool.installed))
