"""The JSON Schema of a YAML file as its author writes it: quantities are texts with a unit, not the floats inside."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from snnenergy.hardware import quantity
from snnenergy.hardware.figures import Figure
from snnenergy.hardware.memory import Point


class _AsWritten(GenerateJsonSchema):
    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        cls = schema["cls"]
        if issubclass(cls, Figure):
            texts = {name: _text(cls.dimension) for name in ("value", "low", "high")}
            made["properties"] |= texts
        elif cls is Point:
            made["properties"] |= {"size": _text("bit"), "energy": _text("J")}
        return made


def _text(dimension: str) -> dict[str, Any]:
    return {
        "type": "string",
        "pattern": r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?\s*[^\d\s].*$",
        "description": f"a quantity in {dimension}, with its unit",
        "examples": [quantity.EXAMPLES[dimension]],
    }


def file_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a file that is read as that model."""
    made = model.model_json_schema(schema_generator=_AsWritten)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}
