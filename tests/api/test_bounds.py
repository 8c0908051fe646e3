"""Every number, string and list that comes from outside has its bounds, in every model of it."""

import pytest
from pydantic import BaseModel, Field, ValidationError

from app.api.destinations import StoreInput, WebhookInput
from app.api.inputs import DoorInput, JobInput, StreamedJobInput
from app.main import create_app
from app.ops.base import Params
from app.ops.registry import load_offered
from app.settings import Settings

MODELS = [DoorInput, JobInput, StreamedJobInput, WebhookInput, StoreInput, Settings] + [
    operation.params for operation in load_offered().values()
]
BY_SETTING = {"urls", "file_ids", "items"}
"""Lists as long as OFFLOAD_JOBS_MAX_ITEMS says; `parse` counts them as it reads."""
NESTED = (
    "items",
    "contentSchema",
    "additionalProperties",
    "prefixItems",
    "anyOf",
    "oneOf",
    "allOf",
)


def unbounded(schema, definitions, path=(), *, texts=True):
    """Give where a schema leaves a number, a string or a list without bounds."""
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        if name not in path:
            yield from unbounded(definitions[name], definitions, (*path, name), texts=texts)
        return
    if lacks(schema, path, texts=texts):
        yield path
    for name, inner in schema.get("properties", {}).items():
        yield from unbounded(inner, definitions, (*path, name), texts=texts)
    for inner in nested(schema):
        yield from unbounded(inner, definitions, path, texts=texts)


def lacks(schema, path, *, texts):
    """Tell whether a schema has no bounds where it should."""
    kind, has = schema.get("type"), schema.keys()
    if has & {"enum", "const"}:
        return False
    if kind in ("integer", "number"):
        lower, upper = {"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}
        return not (has & lower and has & upper)
    if texts and kind == "string":
        return not has & {"maxLength", "pattern", "format", "contentSchema"}
    return texts and kind == "array" and "maxItems" not in has and path[-1] not in BY_SETTING


def nested(schema):
    """Give the schemas inside one that stand for the same name."""
    for word in NESTED:
        inner = schema.get(word, [])
        for one in inner if isinstance(inner, list) else [inner]:
            if isinstance(one, dict):
                yield one


def test_what_has_no_bounds_is_found():
    class Loose(BaseModel):
        at_least: int | None = None
        names: list[str]
        inner: list[StoreInput]

    schema = Loose.model_json_schema()
    found = {".".join(path) for path in unbounded(schema, schema["$defs"])}
    assert found == {"at_least", "names", "inner"}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_model_of_what_comes_in_is_bounded(model):
    schema = model.model_json_schema()
    # What an operator sets is bounded by what an environment variable may have.
    texts = model is not Settings
    found = list(unbounded(schema, schema.get("$defs", {}), (model.__name__,), texts=texts))
    assert not found


def test_every_parameter_of_a_query_is_bounded():
    document = create_app(Settings()).openapi()
    definitions = document["components"]["schemas"]
    seen = 0
    for path, routes in document["paths"].items():
        for method, route in routes.items():
            for told in route.get("parameters", []):
                shared = told.get("$ref", "").rpartition("/")[2]
                parameter = document["components"]["parameters"][shared] if shared else told
                # Headers and paths are as long as a request's head may be.
                texts = parameter["in"] == "query"
                where = (path, method, parameter["name"])
                assert not list(unbounded(parameter["schema"], definitions, where, texts=texts))
                seen += 1
    assert seen > 50


class Foreign(Params):
    """Parameters of an operation from elsewhere, whose author has not thought of bounds."""

    size: int = 0
    ratio: float = 0
    names: tuple[str, ...] = ()
    table: dict[str, int] = Field(default_factory=dict)


@pytest.mark.parametrize(
    "given",
    [
        {"size": 10**23},
        {"size": "9" * 30},
        {"size": -(2**63) - 1},
        {"ratio": float("nan")},
        {"ratio": "1e999"},
        {"ratio": "-inf"},
        {"names": ["a"] * 1_001},
        {"table": dict.fromkeys(map(str, range(1_001)), 1)},
    ],
    ids=str,
)
def test_parameters_without_bounds_get_those_of_records_and_json(given):
    with pytest.raises(ValidationError) as found:
        Foreign.model_validate(given)
    assert found.value.error_count() == 1
    assert found.value.errors()[0]["loc"] == tuple(given)


def test_a_list_that_is_too_long_is_one_error_whatever_is_in_it():
    for name, operation in load_offered().items():
        for field in ("accept_types", "variants", "digests", "formats", "include"):
            if field in operation.params.model_fields:
                with pytest.raises(ValidationError) as found:
                    operation.params.model_validate({field: [1] * 5_000})
                assert found.value.error_count() == 1, (name, field)
