"""What the command `offload` takes derives from what the operations say."""

import os
import subprocess
import sys
from pathlib import Path

from offload.cli.options import choices

from tests.client.shell import run


def test_every_option_of_every_operation_is_one_of_its_command():
    from app.ops.registry import load_offered

    for name, operation in load_offered().items():
        told = run(name, "--help", env={"COLUMNS": "400", "TERMINAL_WIDTH": "400"}).output
        for option in operation.params.model_fields:
            assert f"--{option.replace('_', '-')}" in told, (name, option)
        assert "Examples:" in told


def test_values_are_read_as_what_they_can_be():
    operation = {
        "name": "odd",
        "params": {
            "properties": {
                "mixed": {"anyOf": [{"type": "integer"}, {"type": "boolean"}, {"enum": ["a"]}]},
                "list": {"type": "array", "items": {"type": "integer"}},
                "thing": {"$ref": "#/$defs/Thing"},
                "force": {"type": "boolean"},
            },
            "$defs": {"Thing": {"type": "object", "properties": {}}},
        },
    }
    by_name = {one.name: one for one in choices(operation, frozenset({"force"}))}
    assert [by_name["mixed"].value(text) for text in ("7", "true", "a", "-2")] == [7, True, "a", -2]
    assert by_name["list"].value(["1", "2"]) == [1, 2]
    assert by_name["list"].value(["1,2"]) == "1,2"
    assert by_name["thing"].value('{"a": [1]}') == {"a": [1]}
    assert by_name["thing"].value("{broken") == "{broken"
    [option] = by_name["force"].annotation.__metadata__
    assert option.default == "--odd-force/--no-odd-force"


def test_completion_knows_commands_and_their_options():
    def completed(typed):
        env = {"_OFFLOAD_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": "1"}
        env |= {"_TYPER_COMPLETE_ARGS": typed, "COMP_CWORD": str(len(typed.split(" ")) - 1)}
        said = subprocess.run(
            [Path(sys.executable).with_name("offload")],
            env=os.environ | env,
            capture_output=True,
            text=True,
            check=False,
        )
        return said.stdout.split()

    assert completed("offload compress --for") == ["--format", "--force"]
