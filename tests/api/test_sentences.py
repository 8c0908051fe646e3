"""Whatever validation finds is said in words that a client understands."""

import json
import re
from typing import get_args

import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic_core.core_schema import ErrorType

from app.api import inputs
from app.api.destinations import WebhookInput
from app.api.documents import parse
from app.api.making import make_step
from app.api.sentences import Judged, complaint, sentence
from app.errors import InvalidParameter
from app.ops.registry import load_offered

OPERATIONS = load_offered()
DOCUMENTS = (inputs.DoorInput, inputs.JobInput, inputs.StreamedJobInput, inputs.UrlInput)
MODELS = {kind.__name__: kind for kind in (*DOCUMENTS, WebhookInput)} | {
    name: operation.params for name, operation in OPERATIONS.items()
}

JARGON = re.compile(
    r"(?i)input should|valid (tuple|dictionary|integer|boolean|list|array|string)|lax.or.strict"
    r"|function-|model_|_type\b|instance of|\bclass\b|discriminator|union|\btag '|unable to|"
    r"unpack|literal\[|<\w+>|list\[|tuple|dict\b|\w+(Input|Params|Options|View)\b|value error|"
    r"assertion|pydantic|traceback|extra inputs|field required"
)

# What pydantic's validators of each kind can find wrong with JSON, and with text for it.
FOUND_BY = {
    "str": {"string_type", "string_unicode"},
    "int": {"int_type", "int_parsing", "int_parsing_size", "int_from_float"},
    "float": {"float_type", "float_parsing", "finite_number"},
    "bool": {"bool_type", "bool_parsing"},
    "literal": {"literal_error"},
    "list": {"list_type"},
    "tuple": {"tuple_type", "missing"},
    "dict": {"dict_type"},
    "model": {"model_type"},
    "model-fields": {"missing", "extra_forbidden", "model_type"},
}
FOUND_BY_BOUND = {
    "ge": "greater_than_equal",
    "gt": "greater_than",
    "le": "less_than_equal",
    "lt": "less_than",
    "pattern": "string_pattern_mismatch",
}
CONTEXT = {
    "actual_length": 9,
    "class": "Thing",
    "class_name": "ThingInput",
    "expected_schemes": "'http' or 'https'",
    "expected": "'a', 'b' or 'c'",
    "field_type": "Tuple",
    "pattern": "^a$",
}
NUMBERS = ("gt", "ge", "lt", "le", "min_length", "max_length", "multiple_of")


def error(kind, **more):
    context = CONTEXT | dict.fromkeys(NUMBERS, 3.0) | {"error": "too odd"}
    return {"type": kind, "loc": ("a", 1, "b"), "msg": "Input should be odd", "ctx": context} | more


def said(kind):
    return sentence(*complaint(error(kind), Judged(None)))


def kinds_of(schema):
    """Give the types of errors that the validators of a core schema can find."""
    if isinstance(schema, dict):
        kind = schema.get("type")
        yield from FOUND_BY.get(kind, ())
        yield from (found for bound, found in FOUND_BY_BOUND.items() if bound in schema)
        for bound in ("min_length", "max_length"):
            if bound in schema:
                end = "short" if bound == "min_length" else "long"
                yield f"string_too_{end}" if kind == "str" else f"too_{end}"
        for name, inner in schema.items():
            if name not in ("metadata", "serialization"):
                yield from kinds_of(inner)
    elif isinstance(schema, list | tuple):
        for inner in schema:
            yield from kinds_of(inner)


@pytest.mark.parametrize("kind", get_args(ErrorType))
def test_no_type_of_error_is_told_in_pydantics_words(kind):
    assert not JARGON.search(said(kind)), said(kind)


@pytest.mark.parametrize("name", MODELS)
def test_every_error_that_our_models_can_have_has_words_of_its_own(name):
    found = set(kinds_of(MODELS[name].__pydantic_core_schema__))
    assert found
    assert found <= set(get_args(ErrorType))
    for kind in found:
        assert "is not valid" not in said(kind), kind


def refusal(name, given):
    """Give what these parameters, or this document, are refused with."""
    try:
        if name in OPERATIONS:
            make_step(OPERATIONS, name, given)
        else:
            parse(MODELS[name], json.dumps(given))
    except InvalidParameter as error:
        return error
    return None


WRONG = [
    None, True, 1, -1, 1.5, 10**19, "", "x", "1.5", "nan", "1,x", "[", "[1", '{"a": 1}', "é" * 300,
    [], [1], ["x"], [[]], [{}], [{"a": 1}], {}, {"a": 1}, {"url": 1}, {"url": "x", "b": [1]},
]  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_every_wrong_value_of_every_field_is_told_without_jargon(name):
    fields = MODELS[name].model_fields
    found = [e for field in fields for value in WRONG if (e := refusal(name, {field: value}))]
    assert len(found) > len(fields)
    for one in found:
        text = json.dumps([one.detail, one.extra], ensure_ascii=False)
        assert not JARGON.search(text), text
        assert one.detail.endswith((".", "?"))
        for told in one.extra["errors"]:
            assert not [part for part in told["loc"] if "[" in str(part)], told


def test_a_stranger_s_union_leaves_no_branches_in_a_place():
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(dict[str, list[int] | dict[str, bool]]).validate_python({"a": "x"})
    for found in caught.value.errors():
        assert complaint(found, Judged(None))[0] == ["a"]


def test_a_place_that_is_called_as_a_part_of_a_request_is_told():
    with pytest.raises(InvalidParameter, match=r"^`path` must not have"):
        make_step(OPERATIONS, "archive", {"path": "{nothing}"})


def test_a_choice_is_told_with_what_it_may_have_been():
    for op, given, meant in (
        ("image", {"format": "web"}, "webp"),
        ("optimize", {"formats": "jpg,web"}, "webp"),
        ("optimize", {"formats": ["avfi"]}, "avif"),
        ("compress", {"format": "zsdt"}, "zstd"),
    ):
        with pytest.raises(InvalidParameter, match=rf"did you mean {meant}\?$"):
            make_step(OPERATIONS, op, given)


@pytest.mark.parametrize(
    ("op", "given", "taken"),
    [
        ("compress", ".br", "br"),
        ("compress", "brotli", "br"),
        ("compress", "GZ", "gzip"),
        ("compress", "zst", "zstd"),
        ("compress", "bzip2", "bz2"),
        ("decompress", ".gz", "gzip"),
        ("archive", "tgz", "tar.gz"),
        ("archive", ".tar.zst", "tar.zst"),
        ("image", "jpg", "jpeg"),
        ("image", ".JPG", "jpeg"),
        ("image", "tif", "tiff"),
    ],
)
def test_another_spelling_of_a_format_is_taken_for_the_one_name(op, given, taken):
    assert make_step(OPERATIONS, op, {"format": given}).params["format"] == taken


def test_another_spelling_is_taken_in_a_list_too():
    step = make_step(OPERATIONS, "optimize", {"formats": "jpg,.webp"})
    assert step.params["formats"] == ["jpeg", "webp"]
