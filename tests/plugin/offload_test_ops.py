"""Operations from another package, as a team would add its own; these misbehave on demand."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from app.errors import Refusal
from app.ops.base import Operation, Output, Params, Result, Work


class MisbehaveParams(Params):
    """What to do."""

    how: Literal[
        "copy",
        "die",
        "die_if_poison",
        "kill_node_if_poison",
        "ignore_alarm",
        "wait",
        "tell_on",
        "raise",
        "unsayable",
        "unpicklable",
        "unreadable",
        "chatter",
    ] = "copy"
    pipe: str = ""
    """For `wait`: path of a named pipe; there is another one beside it, ending in `.began`."""
    weight_ms: float = 50
    """What it takes, as it says."""


def misbehave(work: Work, params: MisbehaveParams) -> Result:
    """Do it, and copy the input if still alive."""
    content = work.source.path.read_bytes()
    if params.how == "die" or (params.how == "die_if_poison" and content == b"poison"):
        os.kill(os.getpid(), signal.SIGKILL)
    if params.how == "kill_node_if_poison" and content == b"poison":
        os.killpg(os.getpgrp(), signal.SIGKILL)  # of a node that is a group of its own
    if params.how == "ignore_alarm":
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        threading.Event().wait()
    if params.how == "wait":
        work.tell(3, 10)
        # Two named pipes: one tells the test which process has begun, one waits to be let go.
        Path(params.pipe + ".began").write_text(str(os.getpid()))
        Path(params.pipe).read_bytes()
    while params.how == "tell_on":
        work.tell(1, 2)
    if params.how == "chatter":
        _chatter()
    if params.how == "raise":
        raise _Unpicklable("a", "b")
    if params.how in ("unpicklable", "unreadable"):
        name = _Unreadable("name") if params.how == "unreadable" else _unpicklable("name")
        return Result((replace(_copy(work, content, 0).outputs[0], name=name),))
    if params.how == "unsayable":
        return _copy(work, content, "\ud800")  # half of a surrogate pair: not text in any encoding
    return _copy(work, content, os.getpid(), cores=work.cores())


def _chatter() -> None:
    """Write past the log in all the ways that libraries have."""
    os.write(2, b"(process:1): GLib-GObject-WARNING **: from C\n")
    os.write(1, b"from C, to standard output, and no line's end")
    print("from print\x1b[31m")
    warnings.warn("from warnings", stacklevel=1)
    logging.getLogger("a.library").error("from a library\n%s", "{not json}")
    sys.stdout.flush()


class _Unpicklable(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


def _unpicklable(text: str) -> str:
    class Local(str):
        """Of a function, so that nobody can import it."""

        __slots__ = ()

    return Local(text)


class _Unreadable(str):
    __slots__ = ()

    def __reduce__(self) -> Any:
        return int, ("no number",)


def in_thread(work: Work, params: Params) -> Result:
    """Copy, and tell which thread did it."""
    return _copy(work, work.source.path.read_bytes(), threading.current_thread().name)


def glue(work: Work, params: Params) -> Result:
    """Make one file of all, each on a line of its own behind its name."""
    target = work.folder / "glued"
    lines = [source.name.encode() + b" " + source.path.read_bytes() for source in work.sources]
    target.write_bytes(b"\n".join(lines))
    return Result((Output(target, "glued.txt", "text/plain"),), {"inputs": len(lines)})


def cut(work: Work, params: Params) -> Result:
    """Make a file of each line; a line that says `bad` is refused."""
    outputs, refused = [], []
    for number, line in enumerate(work.source.path.read_bytes().splitlines()):
        if line == b"bad":
            refused.append(Refusal(f"line {number}", "input.invalid", "It says so itself."))
            continue
        target = work.folder / str(number)
        target.write_bytes(line)
        outputs.append(Output(target, f"{number}.txt", "text/plain"))
    return Result(tuple(outputs), {"lines": len(outputs)}, tuple(refused))


def _copy(work: Work, content: bytes, by: object, **more: object) -> Result:
    target = work.folder / "copy"
    target.write_bytes(content)
    output = Output(target, work.source.name, work.source.media_type)
    return Result((output,), {"by": by, **more})


MISBEHAVE = Operation(
    name="misbehave",
    summary="Do what no operation should.",
    params=MisbehaveParams,
    runs="process",
    accepts=("*/*",),
    run=misbehave,
    weight_ms=lambda _, params: params.get("weight_ms", 50),
)
IN_THREAD = Operation(
    name="in_thread",
    summary="Copy, in a thread.",
    params=Params,
    runs="thread",
    accepts=("*/*",),
    run=in_thread,
)
GLUE = Operation(
    name="glue",
    summary="Make one file of many.",
    params=Params,
    runs="process",
    accepts=("*/*",),
    run=glue,
    joins=True,
)
CUT = Operation(
    name="cut",
    summary="Make a file of each line.",
    params=Params,
    runs="process",
    accepts=("*/*",),
    run=cut,
)
