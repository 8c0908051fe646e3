"""Writes what derives from the service's own models and from `_async`: `make client`.

`offload/documents.py` has the types, `offload/_operations.py` a method for each operation,
`offload/operations.json` what `GET /v1/operations` says, `offload/_sync/` the client without
`await`. `make test` fails while one of them is not what this would write.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from app.api.doors import door_path
from app.api.openapi import params_schema
from app.main import create_app
from app.ops.base import Offered
from app.ops.registry import load_offered
from app.settings import Settings

PACKAGE = Path(__file__).with_name("offload")
WRITTEN = "Written by `make client`. Do not edit."
BY_HAND = frozenset({"__init__.py", "waiting.py"})
DOCUMENTS = (
    "JobView",
    "ItemPage",
    "DeliveryPage",
    "FilePage",
    "LimitsView",
    "OperationList",
    "ProblemView",
)
INPUTS = ("StoreInput", "WebhookInput")

DOCUMENTS_HEAD = f'''"""The service's documents and its operations' options, typed. {WRITTEN}"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict
'''
OPERATIONS_HEAD = f'''"""A method for each operation. {WRITTEN}"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from typing import Unpack

    from offload._async.jobs import AsyncJob
    from offload._sync.jobs import Job
    from offload.documents import $NAMES
    from offload.inputs import Input, UrlInput
    from offload.submission import Labels, OtherLabels
'''

SYNC = {
    "AsyncClient": "Client",
    "AsyncDeliveries": "Deliveries",
    "AsyncFile": "File",
    "AsyncFiles": "Files",
    "AsyncGenerator": "Generator",
    "AsyncItem": "Item",
    "AsyncIterator": "Iterator",
    "AsyncJob": "Job",
    "AsyncJobs": "Jobs",
    "AsyncOperations": "Operations",
    "AsyncPatience": "Patience",
    "AsyncTransport": "Transport",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "_async": "_sync",
    "aclose": "close",
    "aclosing": "closing",
    "aiter_bytes": "iter_bytes",
    "aiter_raw": "iter_raw",
    "asynccontextmanager": "contextmanager",
    "StopAsyncIteration": "StopIteration",
}


def ours() -> list[Offered]:
    """Give this project's operations; those that an installation adds are not in the client."""
    return [o for o in load_offered().values() if o.params.__module__.startswith("app.")]


def written() -> dict[Path, str]:
    """Give every derived file, by its path below the package."""
    typed = {Path("documents.py"): _documents(), Path("_operations.py"): _operations()}
    files = {path: _formatted(source, path) for path, source in typed.items()}
    files[Path("operations.json")] = _described()
    for source in sorted((PACKAGE / "_async").glob("*.py")):
        if source.name not in BY_HAND:
            path = Path("_sync") / source.name
            files[path] = _formatted(_without_await(source.read_text()), path)
    return files


def _formatted(source: str, path: Path) -> str:
    ruff = str(Path(sys.executable).with_name("ruff"))
    named = ("--stdin-filename", str(PACKAGE / path), "-")
    for verb in (("check", "--fix", "--quiet", "--select", "I"), ("format",)):
        command = [ruff, *verb, *named]
        made = subprocess.run(command, input=source, capture_output=True, text=True, check=True)  # noqa: S603
        source = made.stdout
    return source


# -- without await ---------------------------------------------------------------------------


def _without_await(source: str) -> str:
    source = re.sub(r"\bawait |\basync (?=def|for|with)", "", source)
    source = re.sub(r"\b\w+\b", lambda found: SYNC.get(found[0], found[0]), source)
    # A generator that is not async says what is sent and what is returned.
    source = re.sub(r"Generator\[([\w\"]+), None\]", r"Generator[\1, None, None]", source)
    source = source.replace("an async context manager", "a context manager")
    source = source.replace("by many tasks at once", "by many threads at once")
    first, rest = source.split('"""', 2)[1:]
    return f'"""{first.rstrip(".")}. {WRITTEN}"""{rest}'


# -- operations ------------------------------------------------------------------------------


def _described() -> str:
    """Give what `GET /v1/operations` says."""
    listed = [
        {
            "name": one.name,
            "summary": one.summary,
            "door": door_path(one),
            "accepts": list(one.accepts),
            "joins": one.joins,
            "runs": one.runs,
            "params": params_schema(one),
            "example": one.example,
        }
        for one in ours()
    ]
    return json.dumps({"operations": listed}, indent=1) + "\n"


def _documents() -> str:
    lines = [DOCUMENTS_HEAD]
    lines += [_type(name, schema) for name, schema in _schemas().items()]
    lines.append(f"Step: TypeAlias = {' | '.join(map(repr, _steps()))}".replace("' | '", " | "))
    return "\n\n".join(lines) + "\n"


def _operations() -> str:
    methods = [_methods(asynchronous=asynchronous) for asynchronous in (True, False)]
    named = set(re.findall(r"\b[A-Z]\w+", methods[0])) & set(map(_named, _schemas()))
    head = OPERATIONS_HEAD.replace("$NAMES", ", ".join(sorted(named)))
    return "\n\n".join([head, *methods]) + "\n"


def _steps() -> list[str]:
    return [f"{one.name.title()}Step" for one in ours()]


@cache
def _schemas() -> dict[str, Any]:
    """Give what clients get or say, and all that it names."""
    schemas = create_app(Settings()).openapi()["components"]["schemas"]
    wanted = _reached(schemas, [*DOCUMENTS, *INPUTS, *_steps()])
    return {name: schema for name, schema in schemas.items() if name in wanted}


def _reached(schemas: Mapping[str, Any], names: list[str]) -> set[str]:
    found: set[str] = set()
    while names:
        name = names.pop()
        if name not in found:
            found.add(name)
            names += re.findall(r"#/components/schemas/(\w+)", json.dumps(schemas[name]))
    return found


def _named(name: str) -> str:
    return re.sub(r"View$", "Document", name)


def _type(name: str, schema: dict[str, Any]) -> str:
    if "properties" not in schema:
        return f"{_named(name)}: TypeAlias = {_annotation(schema)}"
    required = set(schema.get("required", ()))
    incoming = name.endswith(("View", "Page", "List"))
    lines = [f"class {_named(name)}(TypedDict):", *_docstring(schema.get("description"))]
    for field, inner in schema["properties"].items():
        kind = _annotation(inner, incoming=incoming)
        kind = kind if field in required else f"NotRequired[{kind}]"
        lines += [f"    {field}: {kind}", *_docstring(inner.get("description"))]
    return "\n".join(lines)


def _docstring(text: str | None, indent: str = "    ") -> list[str]:
    if not text:
        return []
    lines = textwrap.wrap(f'"""{" ".join(text.split())}"""', 96 - len(indent))
    return [indent + line for line in lines]


def _annotation(schema: Mapping[str, Any], *, incoming: bool = True) -> str:
    """Spell a JSON Schema as a type; what is sent may be any sequence or mapping."""
    if "$ref" in schema:
        return _named(schema["$ref"].rpartition("/")[2])
    if kinds := schema.get("anyOf", schema.get("oneOf")):
        return " | ".join(dict.fromkeys(_annotation(one, incoming=incoming) for one in kinds))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return f"Literal[{', '.join(json.dumps(value) for value in values)}]"
    kind = schema.get("type")
    if kind == "array":
        inner = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
        outer = "list" if incoming else "Sequence"
        return f"{outer}[{_annotation(inner, incoming=incoming)}]"
    if kind == "object":
        inner = schema.get("additionalProperties")
        value = _annotation(inner, incoming=incoming) if isinstance(inner, dict) else "Any"
        return f"{'dict' if incoming else 'Mapping'}[str, {value}]"
    plain = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
    return plain.get(kind or "", "None" if kind == "null" else "Any")


def _methods(*, asynchronous: bool) -> str:
    prefix, word = ("Async", "async def") if asynchronous else ("", "def")
    job = f"{prefix}Job"
    lines = [
        f"class {prefix}Operations:",
        '    """A method for each operation; each submits a job of one step."""',
        "",
        f"    {word} _run(",
        "        self,",
        "        name: str,",
        "        inputs: Sequence[Any],",
        "        options: Mapping[str, Any],",
        "        labels: OtherLabels,",
        f"    ) -> {job}:",
        "        raise NotImplementedError",
    ]
    for one in ours():
        lines += ["", *_method(one, word, job, "return await" if asynchronous else "return")]
    return "\n".join(lines)


def _method(one: Offered, word: str, job: str, give: str) -> Iterator[str]:
    schema = params_schema(one)
    labels, inputs = "Labels", "UrlInput" if one.runs == "async" else "Input"
    yield f"    {word} {one.name}("
    yield "        self,"
    yield f"        *inputs: {inputs},"
    for name, field in schema["properties"].items():
        kinds = [kind for kind in _option(field).split(" | ") if kind != "None"]
        if name == "metadata":  # the job's own is an object
            labels, kinds = "OtherLabels", [*kinds, "Mapping[str, Any]"]
        yield f"        {name}: {' | '.join(kinds)} | None = None,"
    yield f"        **labels: Unpack[{labels}],"
    yield f"    ) -> {job}:"
    yield f'        """{one.summary}'
    yield ""
    yield "        Args:"
    taken = "URLs" if one.runs == "async" else "paths, bytes, streams, URLs or stored files"
    yield from _argument("inputs", f"{taken}.")
    for name, field in schema["properties"].items():
        yield from _argument(name, _meaning(field))
    yield from _argument("labels", f"see `{labels}`.")
    yield '        """'
    yield "        options = {"
    for name in schema["properties"]:
        yield f'            "{name}": {name},'
    yield "        }"
    yield f'        {give} self._run("{one.name}", inputs, options, labels)'


def _option(field: Mapping[str, Any]) -> str:
    text = json.dumps(field).replace("#/$defs/", "#/components/schemas/")
    return _annotation(json.loads(text), incoming=False)


def _meaning(field: Mapping[str, Any]) -> str:
    text = " ".join(str(field.get("description", "")).split()).replace("\\", "\\\\")
    default = field.get("default")
    if default in (None, [], "") or f"`{default}`" in text[:20]:
        return text
    shown = default if isinstance(default, str) else json.dumps(default)
    return f"{text} Default: `{shown}`."


def _argument(name: str, text: str) -> list[str]:
    wrapped = textwrap.wrap(f"{name}: {text}", 84, break_long_words=False, break_on_hyphens=False)
    return [" " * 12 + wrapped[0], *(" " * 16 + line for line in wrapped[1:])]


if __name__ == "__main__":
    for path, text in written().items():
        (PACKAGE / path).write_text(text)
