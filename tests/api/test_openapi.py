"""The service's own description, checked against itself and against the service."""

import re

import pytest

from tests.api.answers import problem
from tests.api.description import followed, schema

METHODS = {"get", "head", "post", "put", "patch", "delete"}
DOORS = {
    name: f"/v1/{name}"
    for name in ("archive", "compress", "decompress", "extract", "fetch", "inspect", "optimize")
} | {"image": "/v1/images"}
JSON, OCTETS, FORM = "application/json", "application/octet-stream", "multipart/form-data"
LINES = {"application/x-ndjson", "text/plain"}
MAX_BYTES = 200_000
BINARY = {"type": "string", "format": "binary"}
REQUESTS = ("DoorInput", "JobInput", "JobForm", "FilesForm", "ImageStep", "FetchStep", "UrlInput")


@pytest.fixture
def document(http):
    response = http.get("/openapi.json")
    assert response.status_code == 200
    return response.json()


@pytest.fixture
def routes(document):
    """Every operation of the document as (method, path, description), references followed.

    Those to schemas are left: they are names for what is said.
    """
    return [
        (method, path, followed(document, operation))
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


@pytest.fixture
def described(routes):
    """What is said of a route, by method and path."""
    return {(method, path): operation for method, path, operation in routes}


@pytest.fixture
def operations(http):
    return {o["name"]: o for o in http.get("/v1/operations").json()["operations"]}


def nodes(node):
    yield node
    for child in node.values() if isinstance(node, dict) else node:
        if isinstance(child, dict | list):
            yield from nodes(child)


def test_the_document_says_what_it_is(document):
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"] == "Offload"
    assert document["info"]["version"]
    assert document["info"]["license"]["identifier"] == "MIT"


def test_a_reader_meets_the_groups_and_their_calls_in_a_sensible_order(document, routes):
    groups = [tag["name"] for tag in document["tags"]]
    assert groups == ["operations", "jobs", "files", "webhooks", "service"]
    assert all(tag["description"] for tag in document["tags"])
    assert {tag for _, _, operation in routes for tag in operation["tags"]} == set(groups)
    jobs = [operation["operationId"] for _, _, operation in routes if "jobs" in operation["tags"]]
    assert jobs[:3] == ["submit_job", "list_jobs", "get_job"]


def test_every_operation_says_more_than_its_summary(routes):
    for _, path, operation in routes:
        assert len(operation["description"]) > 20, path
    summaries = [operation["summary"] for _, _, operation in routes]
    assert len(set(summaries)) == len(summaries)


def test_every_reference_resolves(document):
    references = {
        node["$ref"] for node in nodes(document) if isinstance(node, dict) and "$ref" in node
    }
    assert references
    for reference in references:
        root, components, kind, name = reference.split("/")
        assert (root, components) == ("#", "components")
        assert name in document["components"][kind]


def test_nothing_is_said_that_nobody_refers_to(document):
    references = {n["$ref"] for n in nodes(document) if isinstance(n, dict) and "$ref" in n}
    references |= set(
        document["components"]["schemas"]["JobInput"]["properties"]["steps"]["items"][
            "discriminator"
        ]["mapping"].values()
    )
    for kind in ("schemas", "parameters", "responses"):
        for name in document["components"][kind]:
            assert f"#/components/{kind}/{name}" in references


def test_the_document_is_small_enough_to_be_read(http):
    assert len(http.get("/openapi.json").content) < MAX_BYTES


def test_what_a_request_brings_is_named_without_null_and_without_title(document, routes):
    """Generators make one type of each name, and two of what may be null or left out."""
    sent = [p["schema"] for _, _, route in routes for p in route.get("parameters", [])]
    sent += [document["components"]["schemas"][name] for name in REQUESTS]
    for node in (n for part in sent for n in nodes(part) if isinstance(n, dict)):
        assert node != {"type": "null"}
        assert "null" not in node.get("type", "")
    for name, said in document["components"]["schemas"].items():
        assert said["title"] == name
    for p in (p for _, _, route in routes for p in route.get("parameters", [])):
        assert "title" not in p["schema"]


def test_every_operation_has_a_summary_and_a_name_of_its_own(routes):
    assert {method for method, _, _ in routes} <= METHODS
    assert all(operation["summary"] and operation["tags"] for _, _, operation in routes)
    names = [operation["operationId"] for _, _, operation in routes]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z_]*", name) for name in names)


def test_the_options_of_a_door_come_before_what_all_doors_take(described):
    names = [one["name"] for one in described["post", "/v1/images"]["parameters"]]
    assert names.index("width") < names.index("height") < names.index("wait")
    named = described["put", "/v1/images/{filename}"]["parameters"]
    assert named[0]["in"] == "path"


def test_every_path_parameter_is_described(routes):
    for _, path, operation in routes:
        described = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert described == set(re.findall(r"{(\w+)}", path))


def test_no_parameter_is_described_twice(routes):
    for _, path, operation in routes:
        named = [(p["in"], p["name"].lower()) for p in operation.get("parameters", [])]
        assert len(set(named)) == len(named), path


def test_every_error_is_a_problem_document(document, routes):
    problem_view = {"$ref": "#/components/schemas/ProblemView"}
    for _, _, operation in routes:
        for status, response in operation["responses"].items():
            assert response["description"]
            if status == "default" or status >= "400":
                assert response["content"] == {"application/problem+json": {"schema": problem_view}}
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_every_operation_that_can_refuse_says_what_others_look_like(routes):
    for _, _, operation in routes:
        refusals = {status for status in operation["responses"] if status >= "400"} - {"default"}
        if refusals or operation.get("parameters"):
            assert "default" in operation["responses"]


@pytest.mark.parametrize("name", DOORS)
def test_a_door_tells_each_option_once_in_the_query_of_every_body(
    document, described, operations, name
):
    """In two places, Swagger UI and generated clients would send it from both."""
    options = set(operations[name]["params"]["properties"])
    door = described["post", DOORS[name]]
    content = door["requestBody"]["content"]
    assert door["requestBody"]["required"]
    in_query = [p["name"] for p in door["parameters"] if p["in"] == "query"]
    labels = {"tag", "webhook", "store"}
    assert set(in_query) == options | labels | {
        "wait",
        "redirect",
        "download",
        "filename",
        "paths",
    }
    assert len(in_query) == len(set(in_query))
    in_json = schema(document, content[JSON]["schema"])
    assert set(in_json["properties"]) == labels | {"urls", "file_ids", "metadata"}
    assert in_json["additionalProperties"] is True
    assert "urls" in content[JSON]["example"]
    if operations[name]["runs"] == "async":
        assert set(content) == {JSON} | LINES
        return
    assert set(content) == {JSON, OCTETS, FORM}
    assert content[OCTETS]["schema"] == BINARY
    form = schema(document, content[FORM]["schema"])
    assert set(form["properties"]) == {"file"}
    assert form["properties"]["file"]["items"] == BINARY
    raw = described["put", DOORS[name] + "/{filename}"]
    assert set(raw["requestBody"]["content"]) == {OCTETS}
    assert options < {p["name"] for p in raw["parameters"]}


def test_an_option_says_in_the_query_what_its_model_says(described, operations):
    """The same words, bounds and defaults; lists of words as one value, objects as text."""
    for name, operation in operations.items():
        told = {p["name"]: p for p in described["post", DOORS[name]]["parameters"]}
        for option, said in operation["params"]["properties"].items():
            found = told[option]
            assert found["description"] == said["description"]
            if "$ref" in str(said):
                assert found["schema"] == {"type": "string", "maxLength": 65_536}
                continue
            assert found["schema"].get("default") == said.get("default")
            kinds = said.get("anyOf", [said])
            assert (found.get("explode") is False) == any(
                kind.get("type") == "array" for kind in kinds
            )
            bounds = {
                k: v for kind in kinds for k, v in kind.items() if k in ("minimum", "maximum")
            }
            inner = found["schema"].get("anyOf", [found["schema"]])
            assert bounds.items() <= {k: v for part in inner for k, v in part.items()}.items()


def test_a_door_answers_202_with_the_job_and_says_how_it_can_refuse(described):
    for path in DOORS.values():
        responses = described["post", path]["responses"]
        assert {"200", "202", "303", "400", "401", "404", "408", "409"} <= set(responses)
        assert {"413", "415", "422", "429", "503", "507", "default"} <= set(responses)
        for status in ("200", "202"):
            said = responses[status]["content"][JSON]["schema"]
            assert said == {"$ref": "#/components/schemas/JobView"}


def test_the_general_door_describes_each_step_by_its_operation(document, described, operations):
    content = described["post", "/v1/jobs"]["requestBody"]["content"]
    assert set(content) == {JSON, FORM} | LINES
    steps = schema(document, content[JSON]["schema"])["properties"]["steps"]["items"]
    told = {}
    for kind in (schema(document, reference) for reference in steps["oneOf"]):
        told[kind["properties"]["op"]["const"]] = set(kind["properties"])
        assert kind["additionalProperties"] is False
    assert told == {
        name: {"op", *operation["params"]["properties"]} for name, operation in operations.items()
    }
    assert steps["discriminator"]["propertyName"] == "op"
    assert set(steps["discriminator"]["mapping"]) == set(operations)
    form = schema(document, content[FORM]["schema"])
    assert form["properties"]["job"] == content[JSON]["schema"]
    assert form["properties"]["file"]["items"] == BINARY


def test_operations_carry_the_json_schema_of_their_parameters(operations):
    assert {name: operation["door"] for name, operation in operations.items()} == DOORS
    for operation in operations.values():
        schema = operation["params"]
        assert (schema["type"], schema["additionalProperties"]) == ("object", False)
        assert all(described["description"] for described in schema["properties"].values())
        assert set(operation["example"]) <= set(schema["properties"])
        assert operation["summary"]
        assert operation["runs"] in ("process", "thread", "async")


def test_the_examples_are_accepted(http, operations, stored):
    for operation in operations.values():
        inputs = (
            {"urls": ["http://127.0.0.1:1/"]}
            if operation["runs"] == "async"
            else {"file_ids": [stored["id"]]}
        )
        response = http.post(operation["door"], json={**inputs, **operation["example"]})
        assert response.status_code == 202, response.text
        http.delete(response.headers["Location"])


def test_the_limits_are_those_of_the_settings(http):
    limits = http.get("/v1/limits").json()
    assert limits["upload_max_bytes"] == 8 << 20
    assert limits["upload_max_files"] == 50
    assert limits["upload_stall_timeout_s"] == 0.5
    assert limits["job_max_items"] == 10_000
    assert limits["fetch_timeout_s"] == 15
    assert all(isinstance(value, int | float) for value in limits.values())


def test_every_route_answers_what_it_does_not_know_with_a_problem(http, routes):
    """An id there is not, a body that is none, a parameter out of range: never anything else."""
    asked = 0
    for method, path, operation in routes:
        url = re.sub(r"{\w+}", "unknown", path)
        if method == "head":
            continue
        content = b"not json" if "requestBody" in operation else None
        answers = [
            http.request(
                method, url, content=content, headers={"Content-Type": JSON} if content else {}
            )
        ]
        if any(p["name"] == "limit" for p in operation.get("parameters", [])):
            answers.append(http.request(method, url, params={"limit": "x"}))
        if any(p["name"] == "wait" for p in operation.get("parameters", [])):
            answers.append(http.request(method, url, params={"wait": "x"}))
        for response in answers:
            if response.is_error:
                found = response.json()["code"]
                assert response.status_code < 500
                problem(response, response.status_code, found)
                asked += 1
            else:
                assert "{" not in path
                assert not operation.get("requestBody")
    assert asked > len(routes) / 2


def test_every_path_answers_a_wrong_method_with_the_right_ones(http, document):
    for path, item in document["paths"].items():
        response = http.patch(re.sub(r"{\w+}", "unknown", path))
        problem(response, 405, "input.method")
        allowed = set(response.headers["Allow"].split(", "))
        assert {method.upper() for method in item} <= allowed
