"""Other people's image servers, started for real: they read the pictures from a folder."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import services
from benchmarks.services import Service

HERE = Path(__file__).resolve().parent
THUMBOR_BIN = services.ROOT / ".venv-thumbor" / "bin"
THUMBOR_CONF = HERE / "thumbor" / "thumbor.conf"
IPX = HERE / "ipx" / "node_modules" / "ipx"
PROCESSES = 2

_VERSIONS = (
    "from importlib.metadata import version as v; print(v('thumbor'), '(pillow', v('pillow') + ')')"
)


@dataclass(frozen=True, slots=True)
class Server:
    """An image server that answers a GET with the picture made smaller."""

    program: str
    name: str
    """As the tables show it."""
    start: Callable[[Path, Path], AbstractContextManager[Service]]
    """Takes a folder for its log and the folder of the pictures."""
    target: str
    """The path of a request for 800x600 at quality 80, with `{}` for the picture's name."""
    installed: Callable[[], bool]


@contextmanager
def thumbor(folder: Path, pictures: Path) -> Iterator[Service]:
    """Run thumbor in two processes, with nothing kept between requests."""
    port = services.free_port()
    conf = folder / "thumbor.conf"
    conf.write_text(f"{THUMBOR_CONF.read_text()}FILE_LOADER_ROOT_PATH = {str(pictures)!r}\n")
    options = ("-i", "127.0.0.1", "-p", str(port), "-c", str(conf), "-l", "error")
    command = (str(THUMBOR_BIN / "thumbor"), *options, "--processes", str(PROCESSES))
    with services.running(folder, "thumbor", command, {}, port) as service:
        yield service


@contextmanager
def ipx(folder: Path, pictures: Path) -> Iterator[Service]:
    """Run ipx, by its own command: one process of node, whose pictures are made in threads."""
    port = services.free_port()
    options = ("--dir", str(pictures), "--host", "127.0.0.1", "--port", str(port))
    command = ("node", str(IPX / "bin" / "ipx.mjs"), "serve", *options)
    with services.running(folder, "ipx", command, {}, port) as service:
        yield service


def _ipx_installed() -> bool:
    return IPX.is_dir() and shutil.which("node") is not None


THUMBOR = Server(
    "thumbor",
    f"thumbor, {PROCESSES} processes",
    thumbor,
    "/unsafe/fit-in/800x600/{}",
    (THUMBOR_BIN / "thumbor").is_file,
)
IPX_SERVER = Server(
    "ipx", "ipx (sharp)", ipx, "/f_jpeg,fit_inside,q_80,s_800x600/{}", _ipx_installed
)
ALL = (THUMBOR, IPX_SERVER)


def versions() -> dict[str, str]:
    """Give the versions of what is installed, with those of the libraries that do the work."""
    found = {}
    if THUMBOR.installed():
        asked = subprocess.run(
            (THUMBOR_BIN / "python", "-c", _VERSIONS), capture_output=True, check=True, text=True
        )
        found["thumbor"] = asked.stdout.strip()
    if IPX_SERVER.installed():
        sharp = _npm_version(IPX.parent / "sharp")
        found["ipx"] = f"{_npm_version(IPX)} (sharp {sharp})"
    return found


def _npm_version(package: Path) -> str:
    return str(json.loads((package / "package.json").read_text())["version"])


def missing() -> list[str]:
    """Name the servers that are not installed."""
    return [server.program for server in ALL if not server.installed()]
