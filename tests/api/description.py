"""Ways around in the OpenAPI document."""

SCHEMAS = "#/components/schemas/"


def followed(document, node):
    """Give a node with its references followed, except those to schemas: they are names."""
    if isinstance(node, list):
        return [followed(document, part) for part in node]
    if not isinstance(node, dict):
        return node
    if SCHEMAS not in (reference := node.get("$ref", SCHEMAS)):
        _, _, kind, name = reference.split("/")
        return document["components"][kind][name]
    return {key: followed(document, value) for key, value in node.items()}


def schema(document, node):
    """Give a schema, by name or not."""
    return document["components"]["schemas"][node["$ref"].removeprefix(SCHEMAS)]
