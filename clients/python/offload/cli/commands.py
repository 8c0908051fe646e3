"""A command for each operation: made from its description, without a line of code for any."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from offload.cli.options import Choice, choices
from offload.cli.settings import KeyFileOption, Usage, WorkServerOption, where
from offload.cli.showing import complain

COMMON: dict[str, tuple[Any, Any]] = {
    "output": (
        Annotated[
            str | None,
            typer.Option(
                "--output",
                "-o",
                metavar="FILE|DIR",
                help="Where results go: a file, a folder (made, with a / at its end), or - for "
                "standard output. Without it, beside each input.",
            ),
        ],
        None,
    ),
    "recursive": (
        Annotated[
            bool,
            typer.Option("--recursive", "-r", help="Take the files in folders that are given."),
        ],
        False,
    ),
    "force": (
        Annotated[bool, typer.Option("--force", "-f", help="Replace files that are there.")],
        False,
    ),
    "local": (
        Annotated[
            bool, typer.Option("--local", help="Work right here, whatever OFFLOAD_SERVER says.")
        ],
        False,
    ),
    "server": (WorkServerOption, None),
    "key_file": (KeyFileOption, None),
    "tag": (
        Annotated[str | None, typer.Option("--tag", help="Hang this on the jobs of the service.")],
        None,
    ),
    "parallel": (
        Annotated[
            int, typer.Option("--parallel", "-P", min=1, max=64, help="Files under way at once.")
        ],
        4,
    ),
    "json": (
        Annotated[bool, typer.Option("--json", help="Print a JSON document for each input.")],
        False,
    ),
    "quiet": (
        Annotated[bool, typer.Option("--quiet", "-q", help="Tell failures only.")],
        False,
    ),
}
TAKEN = frozenset({*COMMON, "help"})
FILES = typer.Argument(
    metavar="FILE",
    help="Files, globs, URLs, - for standard input, and with -r folders.",
    show_default=False,
)
URLS = typer.Argument(
    metavar="URL",
    help="URLs; files that list them, one a line; - for such a list on standard input.",
    show_default=False,
)


def described() -> list[dict[str, Any]]:
    """Give the operations that this package knows."""
    text = files("offload").joinpath("operations.json").read_text()
    found: list[dict[str, Any]] = json.loads(text)["operations"]
    return found


def command(operation: Mapping[str, Any]) -> Callable[..., None]:
    """Make the function of an operation's command, as typer reads it."""
    options = list(choices(operation, TAKEN))
    by_argument = {f"option_{one.name}": one for one in options}

    def run(**said: Any) -> None:
        raise typer.Exit(_run(operation, by_argument, said))

    taken = URLS if operation["runs"] == "async" else FILES
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("words", keyword, annotation=Annotated[list[str], taken])]
    parameters += [
        inspect.Parameter(name, keyword, annotation=one.annotation, default=None)
        for name, one in by_argument.items()
    ]
    parameters += [
        inspect.Parameter(name, keyword, annotation=annotation, default=default)
        for name, (annotation, default) in COMMON.items()
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    run.__doc__ = f"{operation['summary']}\n\n{_examples(operation)}"
    return run


def _examples(operation: Mapping[str, Any]) -> str:
    name = operation["name"]
    said = " ".join(
        f"--{option.replace('_', '-')} {value if isinstance(value, str) else json.dumps(value)}"
        for option, value in operation.get("example", {}).items()
        if not isinstance(value, bool | list | dict)
    )
    what = "https://example.com/a.jpg" if operation["runs"] == "async" else _sample(operation)
    lines = [f"offload {name} {what} {said}".rstrip()]
    if operation["runs"] == "async":
        lines.append(f"offload {name} urls.txt -o pages/")
    elif operation["joins"]:
        lines.append(f"offload {name} -r folder/ -o all.zip")
    else:
        lines.append(f"offload {name} -r folder/ -o results/")
        lines.append(f"cat {what} | offload {name} - > result")
    return "\b\nExamples:\n  " + "\n  ".join(lines)


def _sample(operation: Mapping[str, Any]) -> str:
    accepted = " ".join(operation["accepts"])
    kinds = {"image/": "photo.jpg", "application/zip": "files.zip"}
    found = next((name for kind, name in kinds.items() if kind in accepted), None)
    return found or ("access.log.gz" if "decompress" in operation["name"] else "access.log")


def _run(
    operation: Mapping[str, Any], by_argument: Mapping[str, Choice], said: Mapping[str, Any]
) -> int:
    from offload.cli.run import USAGE, Order, carry_out

    key_file: Path | None = said["key_file"]
    try:
        found = where(None if said["local"] else said["server"], key_file)
        order = Order(
            operation,
            said["words"],
            {
                one.name: one.value(said[name])
                for name, one in by_argument.items()
                if said[name] not in (None, [])
            },
            {"tag": said["tag"]},
            found,
            output=said["output"],
            recursive=said["recursive"],
            force=said["force"],
            as_json=said["json"],
            quiet=said["quiet"],
            parallel=said["parallel"],
        )
        return carry_out(order)
    except Usage as error:
        complain(str(error))
        return USAGE
