"""The OpenAPI document (3.1), written from the table: what a row says of itself is what its document says."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

import bgpbridge
from bgpbridge.api.errors import RefusalView
from bgpbridge.api.table import JSON, Parameter, Route
from bgpbridge.view.plain import plain

__all__ = ["document"]

REFERENCE = "#/components/schemas/{model}"
LINES = "application/x-ndjson"
TITLE = "bgpbridge"
ABOUT = (
    "What the bridge holds and does, as JSON. Times are Unix seconds, durations end in `_s`, sizes are octets. "
    "A refusal says what happened, what was expected and how to mend it."
)


class _Shown(GenerateJsonSchema):
    """Types as `view.plain` shows them: families and enums as words, octets as text, every field there."""

    def enum_schema(self, schema: core_schema.EnumSchema) -> JsonSchemaValue:
        if self.mode != "serialization":
            return super().enum_schema(schema)
        members: list[enum.Enum] = schema["members"]
        return {"type": "string", "enum": [plain(member) for member in members]}

    def bytes_schema(self, schema: core_schema.BytesSchema) -> JsonSchemaValue:
        del schema
        return {"type": "string"}

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        found = super().dict_schema(schema)
        found.pop("propertyNames", None)
        return found

    def arguments_schema(self, schema: core_schema.ArgumentsSchema) -> JsonSchemaValue:
        if self.mode != "serialization":  # before pydantic 2.13 a NamedTuple is the arguments that make it
            return super().arguments_schema(schema)
        return self.kw_arguments_schema(schema["arguments_schema"], None)

    def named_tuple_schema(self, schema: Any) -> JsonSchemaValue:
        """Since then it is a schema of its own, of an array; we show it as an object."""
        shown = {field["name"]: self.generate_inner(field["schema"]) for field in schema["fields"]}
        return {"type": "object", "properties": shown, "required": list(shown)}

    def field_is_required(self, field: Any, total: bool) -> bool:
        return self.mode == "serialization" or super().field_is_required(field, total)

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """A key that may be left out needs no `null` for it, which its own schema may not allow."""
        found = super().default_schema(schema)
        return {key: value for key, value in found.items() if key != "default" or value is not None}

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False


def document(rows: Iterable[tuple[str, Route]]) -> dict[str, Any]:
    """The document of these rows, each with the prefix of its path."""
    listed = list(rows)
    schemas, definitions = _schemas([route for _, route in listed])
    paths: dict[str, Any] = {}
    for prefix, route in listed:
        paths.setdefault(prefix + route.path, {})[route.method.lower()] = _operation(route, schemas, prefix)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": bgpbridge.__version__, "description": ABOUT},
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _schemas(routes: list[Route]) -> tuple[dict[Any, JsonSchemaValue], dict[str, Any]]:
    """The schema of each type that the rows name, and what they refer to."""
    types: dict[Any, tuple[Any, JsonSchemaMode, TypeAdapter[Any]]] = {}
    for route in routes:
        types["shown", str(route.returns)] = (str(route.returns), "serialization", TypeAdapter(route.returns))
        if route.body is not None:
            types["taken", str(route.body)] = (str(route.body), "validation", TypeAdapter(route.body))
    types["shown", "refusal"] = ("refusal", "serialization", TypeAdapter(RefusalView))
    found, rest = TypeAdapter.json_schemas(types.values(), ref_template=REFERENCE, schema_generator=_Shown)
    return dict(found), dict(rest.get("$defs", {}))


def _operation(route: Route, schemas: dict[Any, JsonSchemaValue], prefix: str) -> dict[str, Any]:
    refusal = {"content": {JSON: {"schema": schemas["refusal", "serialization"]}}}
    shown = {"description": route.summary, "content": _content(route, schemas)}
    operation: dict[str, Any] = {
        "operationId": _identifier(prefix, route),
        "summary": route.summary,
        "parameters": [_parameter(route, parameter) for parameter in route.parameters],
        "responses": {
            "200": shown,
            **({"503": shown} if route.unready else {}),
            "4XX": {"description": "It cannot be done as asked", **refusal},
            **({} if route.unready else {"503": {"description": "Come back later", **refusal}}),
        },
    }
    if route.body is not None:
        schema = schemas[str(route.body), "validation"]
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    if route.writes:
        operation["security"] = [{"token": []}]
    return operation


def _content(route: Route, schemas: dict[Any, JsonSchemaValue]) -> dict[str, Any]:
    content: dict[str, Any] = {route.media: {"schema": schemas[str(route.returns), "serialization"]}}
    if any(parameter.name == "follow" for parameter in route.parameters):
        content[LINES] = {"schema": {"type": "string"}}
    return content


def _parameter(route: Route, parameter: Parameter[Any]) -> dict[str, Any]:
    inside = parameter.name in route.in_path
    place = {"in": "path", "required": True} if inside else {"in": "query"}
    return {"name": parameter.name, "description": parameter.text, "schema": dict(parameter.schema), **place}


def _identifier(prefix: str, route: Route) -> str:
    words = [word.strip("{}").replace("-", "_").replace(".", "_") for word in route.path.split("/") if word]
    return "_".join([route.method.lower() if prefix else "probe", *words])
